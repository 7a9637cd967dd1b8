package urlfrom

import (
	"net/http"
	"net/url"
	"strings"
)

// InHead finds the callback URL in a request's header and in its query as it
// was sent (the RawQuery of [url.URL]). It is empty if there is none, which is
// found out without allocating. The one error is ErrConflict.
//
// Header values are taken as they are, query values percent-decoded; one that
// can't be decoded is taken as it is, too, so that it is refused as a URL
// instead of being overlooked.
func (f *Finder) InHead(h http.Header, rawQuery string) (string, error) {
	var found string
	var err error
	for _, name := range f.headers {
		for _, value := range h[name] {
			if found, err = One(found, value); err != nil {
				return "", err
			}
		}
	}
	if len(f.query) == 0 {
		return found, nil
	}
	for rest := (pairs{text: rawQuery}); rest.next(); {
		value, ok := f.query.value(rest.pair)
		if !ok {
			continue
		}
		if found, err = One(found, decoded(value)); err != nil {
			return "", err
		}
	}
	return found, nil
}

// RemoveHeader removes, from h itself, the headers that a callback URL is
// looked for in, and every Callback-* header, in whatever case they are.
func (f *Finder) RemoveHeader(h http.Header) {
	const family = "Callback-"
	for key := range h {
		if len(key) >= len(family) && strings.EqualFold(key[:len(family)], family) {
			delete(h, key)
			continue
		}
		for _, name := range f.headers {
			if strings.EqualFold(key, name) {
				delete(h, key)
			}
		}
	}
}

// RemoveQuery is the query without the pairs that a callback URL is looked
// for in. Of the other pairs every byte and the order are kept; when there is
// none, the query is empty.
func (f *Finder) RemoveQuery(raw string) string {
	var found Found
	f.query.cutPairs(raw, &found)
	if found.cuts == nil {
		return raw
	}
	return string(found.Cut([]byte(raw)))
}

// cutPairs adds to found the pairs that have one of the names, and their
// values. The error is ErrConflict; the cuts are complete all the same.
func (ns names) cutPairs(raw string, found *Found) (err error) {
	gone := 0 // how far from the start everything is cut
	for rest := (pairs{text: raw}); rest.next(); {
		value, ok := ns.value(rest.pair)
		if !ok {
			continue
		}
		var different error
		if found.URL, different = One(found.URL, decoded(value)); different != nil {
			err = different
		}
		// The & before a pair goes with it, or the one behind it if it is the first.
		if rest.from == gone {
			gone = min(rest.to+1, len(raw))
			found.cuts = append(found.cuts, cut{from: rest.from, to: gone})
		} else {
			found.cuts = append(found.cuts, cut{from: rest.from - 1, to: rest.to})
		}
	}
	return err
}

func decoded(value string) string {
	if s, err := url.QueryUnescape(value); err == nil {
		return s
	}
	return value
}

// pairs goes over the pairs of a query or form. They are separated by & only:
// a ; belongs to its pair, as in the URL Standard.
type pairs struct {
	text     string
	pair     string // not decoded
	from, to int    // where the pair is in text
	begun    bool
}

// next moves on to the next pair, which may be an empty one.
func (p *pairs) next() bool {
	if p.begun {
		p.from = p.to + 1 // behind the &
	}
	p.begun = true
	if p.from > len(p.text) || p.text == "" {
		return false
	}
	p.pair = p.text[p.from:]
	if i := strings.IndexByte(p.pair, '&'); i >= 0 {
		p.pair = p.pair[:i]
	}
	p.to = p.from + len(p.pair)
	return true
}
