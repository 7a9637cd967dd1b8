package record

import (
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

func fullTask() *task.Task {
	at := time.UnixMicro(1_795_000_000_123_456)
	return &task.Task{
		ID: task.NewID(at), Route: "example.com/reports/*", Owner: "bob", Status: task.Failed,
		CreatedAt: at, StartedAt: at.Add(1), FinishedAt: at.Add(2e6), Deadline: at.Add(3e9), ExpiresAt: at.Add(4e9),
		Attempts: 3, Interrupted: 1, LastError: "why",
		Response: &task.Summary{Status: 500, ContentType: "text/plain", Bytes: 7},
		Failure:  &task.Failure{Code: task.CodeBackendError, Status: 502, Message: "words"},
		Callback: task.Callback{
			URL: "https://a.example/", ErrorURL: "https://b.example/", Events: task.EventFailed, Format: task.FormatEnvelope,
			Header: http.Header{"X": {"1", "2"}}, Status: task.CallbackRetrying, Attempts: 2, Round: 2, NextAt: at.Add(5e9),
			Log: []task.Delivery{{At: at, Duration: 1, Status: 503, Error: "busy"}},
		},
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Bound: true,
	}
}

func TestCodecKeepsEverythingToTheMicrosecond(t *testing.T) {
	in := fullTask()
	b, err := Marshal(in)
	require.NoError(t, err)
	out, err := Unmarshal[task.Task](b)
	require.NoError(t, err)
	require.True(t, out.StartedAt.Equal(in.StartedAt.Truncate(time.Microsecond)))
	in.StartedAt = in.StartedAt.Truncate(time.Microsecond)
	require.Equal(t, in.View(), out.View())
	require.Equal(t, in.Callback.Header, out.Callback.Header)
	require.Equal(t, in.Callback.Round, out.Callback.Round)
	require.Equal(t, in.Bound, out.Bound)

	request := &task.Request{Method: "POST", URL: "/a?b", RequestURI: "/a?b", Header: http.Header{"A": {"\xff"}}, Body: task.Body{Size: 3, Inline: []byte{0, 1, 2}},
		Vars: map[string]any{"s": "x", "n": 1, "f": 1.5, "b": true}, TLS: &task.TLS{ServerName: "example.com", Version: 0x304}}
	b, err = Marshal(request)
	require.NoError(t, err)
	again, err := Unmarshal[task.Request](b)
	require.NoError(t, err)
	require.Equal(t, request, again)
}

func TestAttachedRecordsAreReadAgain(t *testing.T) {
	one, request, response := fullTask(), &task.Request{Method: "GET", Header: http.Header{"A": {"b"}}}, &task.Response{Status: 200}
	b, err := Marshal(one)
	require.NoError(t, err)
	b, err = Attach(b, request)
	require.NoError(t, err)
	again, err := Unmarshal[task.Task](b)
	require.NoError(t, err)
	require.Equal(t, one.ID, again.ID)
	require.Equal(t, one.TraceParent, again.TraceParent)
	kept, none, err := Attached(b)
	require.NoError(t, err)
	require.Nil(t, none)
	gotRequest, err := Unmarshal[task.Request](kept)
	require.NoError(t, err)
	require.Equal(t, request, gotRequest)

	b, err = Attach(AttachRecord(b, task.RequestPart, kept), response)
	require.NoError(t, err)
	_, kept, err = Attached(b)
	require.NoError(t, err)
	gotResponse, err := Unmarshal[task.Response](kept)
	require.NoError(t, err)
	require.Equal(t, response.Status, gotResponse.Status)
	_, _, err = Attached([]byte("\x01garbage"))
	require.ErrorIs(t, err, task.ErrBadRecord)
}

// A record as version 1 writes it. It must be readable for ever: whoever
// changes the record types makes this test stay as it is.
func TestRecordsOfYesterdayCanBeRead(t *testing.T) {
	b, err := hex.DecodeString(goldenTask)
	require.NoError(t, err)
	got, err := Unmarshal[task.Task](b)
	require.NoError(t, err)
	want := fullTask()
	require.Equal(t, want.Route, got.Route)
	require.Equal(t, want.Callback.URL, got.Callback.URL)
	require.Equal(t, want.Callback.Log[0].Error, got.Callback.Log[0].Error)
	require.True(t, want.CreatedAt.Equal(got.CreatedAt))
	require.Equal(t, want.Failure, got.Failure)
	require.False(t, got.Bound, "it did not exist then")
}

func TestBadRecordsAreErrors(t *testing.T) {
	for _, b := range [][]byte{nil, {}, {1}, {2, 0xa0}, []byte("\x01garbage")} {
		_, err := Unmarshal[task.Task](b)
		require.ErrorIs(t, err, task.ErrBadRecord)
	}
}

func FuzzCodec(f *testing.F) {
	for _, r := range []*task.Task{fullTask(), {}} {
		b, err := Marshal(r)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Unmarshal[task.Request](b); err == nil {
			_, err := Marshal(r)
			require.NoError(t, err)
		}
		if r, err := Unmarshal[task.Response](b); err == nil {
			_, err := Marshal(r)
			require.NoError(t, err)
		}
		attached, _, attachedErr := Attached(b)
		r, err := Unmarshal[task.Task](b)
		if err != nil {
			require.ErrorIs(t, err, task.ErrBadRecord)
			return
		}
		require.NoError(t, attachedErr)
		Unmarshal[task.Request](attached)
		r.Next()
		r.Lane()
		r.View()
		again, err := Marshal(r)
		require.NoError(t, err)
		_, err = Unmarshal[task.Task](again)
		require.NoError(t, err)
	})
}

func BenchmarkMarshalTask(b *testing.B) {
	t := fullTask()
	b.ReportAllocs()
	for b.Loop() {
		Marshal(t)
	}
}

func BenchmarkUnmarshalTask(b *testing.B) {
	r, err := Marshal(fullTask())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		Unmarshal[task.Task](r)
	}
}

const goldenTask = "010a1501a1ee565e7b34a92113f52f18bb8960c6c5002c7b12156578616d706c652e636f6d2f7265706f7274732f2a1a03626f6220032880c98896e0" +
	"a2b0063080c98896e0a2b00638a0e88896e0a2b0064880e4f698e0a2b0065080edf099e0a2b006580360016a03776879721108f403120a746578742f" +
	"706c61696e18077a190a0d4241434b454e445f4552524f5210f6031a05776f72647382015c0a1268747470733a2f2f612e6578616d706c652f121268" +
	"747470733a2f2f622e6578616d706c652f181020012a090a01581201311201323002380240024880f6ea9ae0a2b00652140880c98896e0a2b0061001" +
	"18f7032204627573798a013730302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230" +
	"333333312d3031"
