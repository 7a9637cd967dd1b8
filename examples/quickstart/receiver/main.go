// Command receiver prints the callbacks that it gets. One that also verifies
// their signatures is in examples/verify-signature.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"os"
)

func main() {
	addr := ":9001"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	log.Fatal(http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callback, err := httputil.DumpRequest(r, true)
		if err != nil { // then Ringback shall send it again
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		log.Printf("callback:\n%s\n", callback)
		w.WriteHeader(http.StatusNoContent)
	})))
}
