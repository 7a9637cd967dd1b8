// Command asynq is what people write today who have no Ringback: an HTTP
// handler that puts the request into a queue on Redis and answers 202, and a
// worker that calls the backend and POSTs its answer to the callback URL.
//
// It is a contestant of the benchmark in the folder above, and a module of its
// own, so that its dependencies are not the product's.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/hibiken/asynq"
)

// job is what is kept of a request.
type job struct {
	URI         string `json:"uri"`
	ContentType string `json:"content_type"`
	CallbackURL string `json:"callback_url"`
	Body        []byte `json:"body"`
}

const jobType = "forward"

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	redis := flag.String("redis", "/run/redis/redis.sock", "unix socket of the redis server")
	backend := flag.String("backend", "http://127.0.0.1:8081", "URL of the backend")
	concurrency := flag.Int("concurrency", 64, "tasks that run at once")
	flag.Parse()

	// As generous as the other contestants are: no connection is made twice.
	options := asynq.RedisClientOpt{Network: "unix", Addr: *redis, PoolSize: 512}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = 1024
	w := &worker{backend: *backend, client: &http.Client{Transport: transport, Timeout: 30 * time.Minute}}

	server := asynq.NewServer(options, asynq.Config{
		Concurrency: *concurrency,
		LogLevel:    asynq.ErrorLevel,
		// The default of a second is for queues that are mostly empty.
		TaskCheckInterval: 10 * time.Millisecond,
	})
	mux := asynq.NewServeMux()
	mux.HandleFunc(jobType, w.run)
	if err := server.Start(mux); err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*listen, accept(asynq.NewClient(options))))
}

// accept answers 202 when the request is in the queue.
func accept(queue *asynq.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		payload, err := json.Marshal(job{r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Callback-Url"), body})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		info, err := queue.EnqueueContext(r.Context(), asynq.NewTask(jobType, payload))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Length", "0")
		w.Header().Set("Location", "/tasks/"+info.ID)
		w.WriteHeader(http.StatusAccepted)
	}
}

// worker runs jobs.
type worker struct {
	backend string
	client  *http.Client
}

// run calls the backend and POSTs its answer. An error puts the job back.
func (w *worker) run(ctx context.Context, t *asynq.Task) error {
	var j job
	if err := json.Unmarshal(t.Payload(), &j); err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	answer, contentType, err := w.post(ctx, w.backend+j.URI, j.ContentType, j.Body)
	if err != nil {
		return err
	}
	_, _, err = w.post(ctx, j.CallbackURL, contentType, answer)
	return err
}

func (w *worker) post(ctx context.Context, url, contentType string, body []byte) (answer []byte, answerType string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Content-Type", contentType)
	response, err := w.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return nil, "", err
	}
	if response.StatusCode/100 != 2 {
		return nil, "", fmt.Errorf("%s answered %s", url, response.Status)
	}
	return answer, response.Header.Get("Content-Type"), nil
}
