package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadSendsEachRequestOnce(t *testing.T) {
	const n = 500
	var mu sync.Mutex
	seen := make(map[int]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != 1000 || !json.Valid(body) {
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
		inPath, ok := numberOf(r.URL.Path)
		inURL, also := numberOf(r.Header.Get("Callback-Url"))
		if !ok || !also || inPath != inURL {
			http.Error(w, "bad number", http.StatusBadRequest)
			return
		}
		mu.Lock()
		seen[inPath]++
		mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, "to be skipped")
	}))
	defer server.Close()
	work := Work{
		Addr: server.Listener.Addr().String(), Clients: 7, Pattern: post(1000, "127.0.0.1:1"),
		First: 100, N: n, Want: http.StatusAccepted, Times: true,
	}
	var sent Sent
	require.NoError(t, new(Load).Run(work, &sent))
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, seen, n)
	for number, times := range seen {
		require.Equal(t, 1, times)
		require.True(t, number >= 100 && number < 100+n, number)
	}
	require.Positive(t, sent.P50)
	require.LessOrEqual(t, sent.P50, sent.P99)
	for i := range n {
		require.Less(t, sent.SentAt[i], sent.AnsweredAt[i])
	}
}

func TestLoadStopsAtAnUnwantedAnswer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	work := Work{Addr: server.Listener.Addr().String(), Clients: 3, Pattern: get(), N: 100, Want: http.StatusOK}
	require.ErrorContains(t, new(Load).Run(work, new(Sent)), "status 404 instead of 200")
}

func TestTallyCountsWhatIsLostAndWhatIsRepeated(t *testing.T) {
	var tally tally
	require.NoError(t, tally.Expect(Expect{N: 3, Times: true}, &None{}))
	for _, n := range []int{0, 2, 2, 7} { // 7 was not expected
		tally.count(n)
	}
	var got Tally
	require.NoError(t, tally.Wait(Await{Distinct: 3}, &got)) // no patience
	require.Equal(t, 2, got.Distinct)
	require.Equal(t, 1, got.Repeated)
	require.Zero(t, got.At[1])
	require.Equal(t, got.Last, got.At[2])
}
