package urlfrom

import "net/http"

// sentUnasked are headers that may hold a URL and that a page makes a browser
// send to other sites without their leave.
var sentUnasked = map[string]bool{"Referer": true, "Origin": true, "Ping-From": true, "Ping-To": true}

// Forgeable says that a page of another site can have made a browser send the
// callback URL that was found, without this site's leave: it is in the query or
// in a form. For a header of its own choice and for JSON, a page needs leave
// first (a CORS preflight).
//
// The header is the request's, and found what InBody found in its body.
func (f *Finder) Forgeable(h http.Header, found Found) bool {
	for _, name := range f.headers {
		for _, value := range h[name] {
			if value != "" && !sentUnasked[name] {
				return false
			}
		}
	}
	contentType := h["Content-Type"]
	return found.URL == "" || len(contentType) == 0 || f.kind(contentType[0]) != jsonBody
}
