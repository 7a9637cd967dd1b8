package caddymodule

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/ringback/ringback/task"
)

// groupsVar is the variable in a kept request that holds the route groups
// which had matched and occur in the tail.
const groupsVar = "ringback.groups"

// keep is what is kept of a request, its body and trailer excepted. header
// and rawQuery are those that the backend is to see.
func (h *Handler) keep(r *http.Request, header http.Header, rawQuery string) *task.Request {
	u := *r.URL
	u.RawQuery = rawQuery
	kept := &task.Request{
		Method:     r.Method,
		URL:        u.String(),
		RequestURI: withQuery(r.RequestURI, r.URL.RawQuery, rawQuery),
		Proto:      r.Proto,
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
		TLS:        task.TLSOf(r.TLS),
		Header:     header,
		Server:     h.serverID,
	}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		query := original.URL.RawQuery
		if !h.KeepURL {
			query = h.finder.RemoveQuery(query)
		}
		if original.Method != r.Method {
			kept.OriginalMethod = original.Method
		}
		if uri := withQuery(original.RequestURI, original.URL.RawQuery, query); uri != kept.RequestURI {
			kept.OriginalRequestURI = uri
		}
		was := *original.URL
		was.RawQuery = query
		if s := was.String(); s != kept.URL {
			kept.OriginalURL = s
		}
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		kept.LocalAddr = local.String()
	}
	kept.Vars = h.keepVars(r)
	kept.Placeholders = h.keepPlaceholders(r)
	return kept
}

// keepVars returns the variables worth keeping; nil if there are none.
func (h *Handler) keepVars(r *http.Request) map[string]any {
	var kept map[string]any
	set := func(name string, value any) {
		if kept == nil {
			kept = make(map[string]any)
		}
		kept[name] = value
	}
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	for name, value := range vars {
		if name == caddyhttp.ClientIPVarKey || name == caddyhttp.TrustedProxyVarKey {
			continue // Caddy finds them out anew
		}
		switch value.(type) {
		case string, bool, int, int32, int64, uint, uint32, uint64, float32, float64:
			set(name, value)
		}
	}
	if len(h.groups) > 0 {
		var matched []string
		for group := range matchedGroups(r) {
			if _, ok := h.groups[group]; ok {
				matched = append(matched, group)
			}
		}
		if len(matched) > 0 {
			set(groupsVar, strings.Join(matched, " "))
		}
	}
	return kept
}

// withQuery is a request URI whose query was one and is now another.
func withQuery(uri, was, is string) string {
	if was == is {
		return uri
	}
	path, query, ok := strings.Cut(uri, "?")
	if !ok || query != was {
		return uri
	}
	if is == "" {
		return path
	}
	return path + "?" + is
}

// rebuild makes the request of a backend call, as it was when it came to the
// handler.
func (h *Handler) rebuild(ctx context.Context, call *task.Call, w http.ResponseWriter) *http.Request {
	kept := call.Request
	ctx = context.WithValue(ctx, backgroundKey{}, true)
	if local := parseAddr(kept.LocalAddr); local != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, local)
	} else {
		// {http.request.local} panics without one.
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	}
	u := parseURL(kept.URL)
	original := *u
	if kept.OriginalURL != "" {
		original = *parseURL(kept.OriginalURL)
	}
	r := (&http.Request{
		Method:        or(kept.OriginalMethod, kept.Method),
		URL:           &original,
		RequestURI:    or(kept.OriginalRequestURI, kept.RequestURI),
		Proto:         kept.Proto,
		Header:        backendHeader(call),
		Host:          kept.Host,
		RemoteAddr:    kept.RemoteAddr,
		TLS:           kept.TLS.ConnectionState(),
		Body:          http.NoBody,
		ContentLength: kept.Body.Size,
	}).WithContext(ctx)
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(kept.Proto)
	if kept.Body.Size > 0 {
		r.Body = call.Body
	}
	if len(kept.Trailer) > 0 {
		// Trailers can only be sent after a chunked body.
		r.Trailer = kept.Trailer.Clone()
		for _, name := range taskHeaders {
			delete(r.Trailer, name)
		}
		r.ContentLength = -1
		r.Body = call.Body
		r.TransferEncoding = []string{"chunked"}
		r.Header.Del("Content-Length")
	}

	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, h.server)

	// From here on, what handlers before this one had changed.
	r.Method, r.URL, r.RequestURI = kept.Method, u, kept.RequestURI
	for name, value := range kept.Vars {
		if name != groupsVar {
			caddyhttp.SetVar(r.Context(), name, value)
			continue
		}
		groups := matchedGroups(r)
		for group := range strings.FieldsSeq(value.(string)) {
			if _, ok := h.groups[group]; ok && groups != nil {
				groups[group] = struct{}{}
			}
		}
	}
	for name, value := range kept.Placeholders {
		repl.Set(name, value)
	}
	return r
}

// backendHeader is the header that the backend gets: the client's, and what
// tells the backend about the task.
func backendHeader(call *task.Call) http.Header {
	header := make(http.Header, len(call.Request.Header)+3)
	// Handlers may change the slices, and another attempt needs them as they are.
	n := 0
	for _, values := range call.Request.Header {
		n += len(values)
	}
	all := make([]string, 0, n)
	for name, values := range call.Request.Header {
		begin := len(all)
		all = append(all, values...)
		header[name] = all[begin:len(all):len(all)]
	}
	if values, ok := header["Connection"]; ok {
		header["Connection"] = withoutTaskHeaders(values)
	}
	id := call.TaskID.String()
	header[task.HeaderTaskID] = []string{id}
	header[task.HeaderAttempt] = []string{strconv.Itoa(call.Attempt)}
	if _, ok := header[task.HeaderIdempotencyKey]; !ok {
		header[task.HeaderIdempotencyKey] = []string{id}
	}
	if _, ok := header["Content-Length"]; ok {
		header["Content-Length"] = []string{strconv.FormatInt(call.Request.Body.Size, 10)}
	}
	return header
}

// taskHeaders are the headers that tell the backend about the task.
var taskHeaders = []string{task.HeaderTaskID, task.HeaderAttempt, task.HeaderIdempotencyKey}

// withoutTaskHeaders are the values of a client's Connection header without
// the names of taskHeaders: proxies remove what is named there.
func withoutTaskHeaders(connection []string) []string {
	var out []string
	for _, line := range connection {
		options := strings.Split(line, ",")
		options = slices.DeleteFunc(options, func(option string) bool {
			return slices.Contains(taskHeaders, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(option)))
		})
		if len(options) > 0 {
			out = append(out, strings.Join(options, ","))
		}
	}
	return out
}

// parseURL reads a URL that url.URL wrote. A path that begins with two
// slashes is one, and no host.
func parseURL(s string) *url.URL {
	parse := url.Parse
	if strings.HasPrefix(s, "/") {
		parse = url.ParseRequestURI
	}
	u, err := parse(s)
	if err != nil {
		return &url.URL{Path: s}
	}
	return u
}

// parseAddr reads the address of a listener; nil for what is none.
func parseAddr(s string) net.Addr {
	if s == "" {
		return nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return &net.UnixAddr{Name: s, Net: "unix"}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
