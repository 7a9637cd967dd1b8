package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ringback/ringback/task"
)

// A callback URL in the query or in a form can come from any page on the web:
// an image, a link or a form in it makes the browser send the request, with the
// cookies and from the network of whoever looks at the page, and the response
// would go to the page's author. So these places are for requests that are no
// browser's, or come from the site's own pages.

// checkSite refuses a request whose callback URL another site can have forged,
// unless the request shows that none has.
func (h *Handler) checkSite(r *http.Request) error {
	if slices.Contains(h.origins, "*") {
		return nil
	}
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case slices.Contains(h.origins, normalOrigin(origin)):
		return nil
	case site == "same-origin":
		return nil
	case site != "" && site != "none":
		return crossSite("it comes from a page of another site")
	case origin != "":
		if ownOrigin(r, origin) {
			return nil
		}
		return crossSite("its Origin is another site")
	case needsLeave(r):
		return nil
	case r.Header.Get("Cookie") != "" || strings.HasPrefix(r.UserAgent(), "Mozilla/"):
		// A link in a mail, an address that was typed, or a browser that does not
		// say: an old one, or any if the site is plain http.
		return crossSite("it comes from a browser or has cookies, and does not say that a page of this site sent it")
	}
	return nil
}

// needsLeave says that a page of another site would have needed this site's
// leave (a CORS preflight) for the request: for its method, its type, or a
// header of the page's own choice.
func needsLeave(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return true
	}
	media, _, _ := strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	switch strings.Trim(media, " \t") {
	case "", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded":
	default:
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Callback-") || name == "Prefer" || name == task.HeaderIdempotencyKey {
			return true
		}
	}
	return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") // browsers send only passwords by themselves
}

func crossSite(why string) error {
	return task.NewProblem(http.StatusForbidden, task.ProblemCrossSite, "the callback URL is in the query or in a form, and "+why+
		": send it in the Callback-Url header, or in a JSON body")
}

// ownOrigin says that an Origin is the one that the request was made to. A proxy
// in front may have ended its TLS.
func ownOrigin(r *http.Request, origin string) bool {
	host := strings.ToLower(r.Host)
	origin = normalOrigin(origin)
	return origin == normalOrigin("https://"+host) || r.TLS == nil && origin == normalOrigin("http://"+host)
}

// normalOrigin is an origin in lower case and without the default port, as
// browsers send it.
func normalOrigin(origin string) string {
	origin = strings.ToLower(origin)
	if rest, ok := strings.CutPrefix(origin, "https://"); ok {
		return "https://" + strings.TrimSuffix(rest, ":443")
	}
	if rest, ok := strings.CutPrefix(origin, "http://"); ok {
		return "http://" + strings.TrimSuffix(rest, ":80")
	}
	return origin
}

// CheckOrigins finds what can't be an Origin.
func CheckOrigins(origins []string) error {
	for _, origin := range origins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !validPort(u) ||
			strings.Contains(u.Host, "*") || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
			return fmt.Errorf("allow_origin is %q: want an origin such as https://app.example.com, without a path, or *", origin)
		}
	}
	return nil
}

// validPort says that a URL's port, if any, is a number that ports have.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	_, err := net.LookupPort("tcp", u.Port())
	return err == nil
}
