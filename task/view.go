package task

import (
	"net/url"
	"time"
)

// View is a task as its client sees it, as JSON. It shows nothing of the
// request and no secrets: of the callback URL neither userinfo nor query.
type View struct {
	TaskID     ID         `json:"task_id"`
	Status     Status     `json:"status"`
	Done       bool       `json:"done"`
	CreatedAt  time.Time  `json:"created_at"`
	NotBefore  *time.Time `json:"not_before,omitempty"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Deadline   *time.Time `json:"deadline,omitempty"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	Attempts   int        `json:"attempts"`
	LastError  string     `json:"last_error,omitempty"`
	// Waiting says why a task that is due is not run; empty if nothing holds it up.
	Waiting  string       `json:"waiting,omitempty"`
	Response *Summary     `json:"response,omitempty"`
	Error    *Failure     `json:"error,omitempty"`
	Callback CallbackView `json:"callback"`
}

// CallbackView is the delivery of a task's outcome as its client sees it.
type CallbackView struct {
	Status        CallbackStatus `json:"status"`
	URL           string         `json:"url,omitempty"`
	Attempts      int            `json:"attempts"`
	LastStatus    int            `json:"last_status,omitempty"`
	LastError     string         `json:"last_error,omitempty"`
	NextAttemptAt *time.Time     `json:"next_attempt_at,omitempty"`
	Log           []Delivery     `json:"log,omitempty"`
}

// View is the task as its client sees it.
func (t *Task) View() View {
	v := View{
		TaskID:     t.ID,
		Status:     t.Status,
		Done:       t.Status.Done(),
		CreatedAt:  t.CreatedAt.UTC(),
		StartedAt:  utc(t.StartedAt),
		FinishedAt: utc(t.FinishedAt),
		Deadline:   utc(t.Deadline),
		ExpiresAt:  utc(t.ExpiresAt),
		Attempts:   t.Attempts,
		LastError:  t.LastError,
		Response:   t.Response,
		Error:      t.Failure,
		Callback: CallbackView{
			Status:   t.CallbackStatus(),
			URL:      RedactURL(t.CallbackURL()),
			Attempts: t.Callback.Attempts,
			Log:      t.Callback.Log,
		},
	}
	if t.Status == Queued {
		v.NotBefore = utc(t.NextCallAt)
	}
	if n := len(t.Callback.Log); n > 0 {
		last := t.Callback.Log[n-1]
		v.Callback.LastStatus, v.Callback.LastError = last.Status, last.Error
	}
	if t.Callback.Status == CallbackRetrying {
		v.Callback.NextAttemptAt = utc(t.Callback.NextAt)
	}
	return v
}

// utc is t in UTC, or nil for the zero time.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// RedactURL is a URL that may be shown and logged: without userinfo, query
// and fragment, where credentials travel.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
