// A callback receiver that verifies X-Callback-Signature with the standard
// library. That header covers the body and nothing else: an old callback sent
// again passes, even with another webhook-id. To refuse it, see go-standard.
//
//	CALLBACK_SECRET=whsec_… PORT=8080 go run ./go-plain
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	secret := os.Getenv("CALLBACK_SECRET")
	if secret == "" {
		log.Fatal("set CALLBACK_SECRET")
	}
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10<<20))
		if err != nil {
			http.Error(w, "body can't be read", http.StatusBadRequest)
			return
		}
		if !valid(secret, body, r.Header.Get("X-Callback-Signature")) {
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		log.Printf("task %s: %d bytes", r.Header.Get("Callback-Task-Id"), len(body))
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}

func valid(secret string, body []byte, signature string) bool {
	h := hmac.New(sha256.New, []byte(secret)) // the whole text, whsec_ included
	h.Write(body)
	want := "sha256=" + hex.EncodeToString(h.Sum(nil))
	return hmac.Equal([]byte(want), []byte(signature))
}
