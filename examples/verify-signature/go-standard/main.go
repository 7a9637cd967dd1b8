// A callback receiver that verifies with the library of Standard Webhooks.
//
//	CALLBACK_SECRET=whsec_… PORT=8080 go run ./go-standard
package main

import (
	"io"
	"log"
	"net/http"
	"os"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	// For a secret without whsec_: standardwebhooks.NewWebhookRaw([]byte(secret))
	webhook, err := standardwebhooks.NewWebhook(os.Getenv("CALLBACK_SECRET"))
	if err != nil || os.Getenv("CALLBACK_SECRET") == "" {
		log.Fatal("set CALLBACK_SECRET to the whsec_ secret")
	}
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10<<20))
		if err != nil {
			http.Error(w, "body can't be read", http.StatusBadRequest)
			return
		}
		if err := webhook.Verify(body, r.Header); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		log.Printf("task %s, webhook %s: %d bytes",
			r.Header.Get("Callback-Task-Id"), r.Header.Get("webhook-id"), len(body))
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
