package commands

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verify is all that a receiver has to do to verify a callback, by Standard
// Webhooks and by the plain signature. One of the two is enough.
func verify(header http.Header, body []byte, secret string, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("webhook-timestamp is %q: too old, or none", timestamp)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.ContainsFunc(strings.Fields(header.Get("webhook-signature")), func(given string) bool {
		return hmac.Equal([]byte(given), []byte(want))
	}) {
		return errors.New("webhook-signature is wrong")
	}

	mac = hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if plain := "sha256=" + hex.EncodeToString(mac.Sum(nil)); !hmac.Equal([]byte(header.Get("X-Callback-Signature")), []byte(plain)) {
		return errors.New("X-Callback-Signature is wrong")
	}
	return nil
}
