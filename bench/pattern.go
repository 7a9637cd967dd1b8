package main

import (
	"bytes"
	"fmt"
	"strings"
)

// Pattern is a request with its number left out, written beforehand, so that
// sending one costs little.
type Pattern struct {
	Head []byte // to the empty line; numberMark is where the number goes
	Body []byte
}

// A request's number is in its path and in its callback URL, always after a
// slash and at the same length: numberPrefix, then numberDigits digits.
const (
	numberPrefix = "/no-"
	numberDigits = 9
)

// number writes the request's number where it belongs.
func (p Pattern) number(n int) {
	head := p.Head
	for {
		i := bytes.Index(head, []byte(numberPrefix))
		if i < 0 {
			return
		}
		head = head[i+len(numberPrefix):]
		rest := n
		for d := numberDigits - 1; d >= 0; d-- {
			head[d] = byte('0' + rest%10)
			rest /= 10
		}
	}
}

// numberOf finds a request's number in a path.
func numberOf(path string) (int, bool) {
	_, digits, ok := strings.Cut(path, numberPrefix)
	if !ok || len(digits) != numberDigits {
		return 0, false
	}
	n := parseInt([]byte(digits))
	return n, n >= 0
}

// numbered is a path with room for a number.
func numbered(path string) string {
	return path + numberPrefix + strings.Repeat("0", numberDigits)
}

// get is a request without a body and without a callback URL.
func get() Pattern {
	return Pattern{Head: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", numbered("/call"), likeClients)}
}

// post is a request with a JSON body of so many bytes. With the address of a
// receiver it asks for a callback.
func post(size int, receiver string) Pattern {
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: bench\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n",
		numbered("/call"), likeClients, size)
	if receiver != "" {
		fmt.Fprintf(&head, "Callback-Url: http://%s%s\r\n", receiver, numbered("/callback"))
	}
	head.WriteString("\r\n")
	return Pattern{head.Bytes(), jsonBody(size)}
}

// likeClients are headers that most clients send.
const likeClients = "User-Agent: bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n"

// jsonBody is a JSON object of exactly size bytes, made of many members, as
// those in the wild are.
func jsonBody(size int) []byte {
	const end = `"end":"`
	b := []byte("{")
	for i := 0; len(b) < size-100; i++ {
		b = fmt.Appendf(b, `"item_%d":{"name":"thing %d","count":%d,"ok":true},`, i, i, i)
	}
	b = append(b, end...)
	b = append(b, strings.Repeat("x", max(0, size-len(b)-2))...)
	return append(b, `"}`...)
}
