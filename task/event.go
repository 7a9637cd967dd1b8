package task

import (
	"fmt"
	"strings"

	"github.com/ringback/ringback/suggest"
)

// Events is a set of events in the life of a task.
type Events uint8

// The events, in the order in which they come.
const (
	EventAccepted Events = 1 << iota
	EventStarted
	EventProgress
	EventCompleted
	EventFailed
	EventCanceled

	// TerminalEvents are the events that end a task: what a callback is sent
	// for when the client does not say otherwise.
	TerminalEvents = EventCompleted | EventFailed | EventCanceled
)

var eventText = [...]string{"accepted", "started", "progress", "completed", "failed", "canceled"}

// Has says that all of the given events are in the set.
func (e Events) Has(events Events) bool { return e&events == events }

// String is the single event as the wire contract has it ("task.completed"),
// or the names of a set ("completed, failed").
func (e Events) String() string {
	var names []string
	for i, name := range eventText {
		if e.Has(1 << i) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return "task." + names[0]
	}
	return strings.Join(names, ", ")
}

// ParseEvents reads a list of event names, separated by commas, as in
// Callback-Events. "task.completed" is the same as "completed".
func ParseEvents(list string) (Events, error) {
	terminal := eventText[3:] // which are all that callbacks can be sent for
	var set Events
next:
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		for i, known := range eventText {
			if strings.TrimPrefix(name, "task.") == known {
				set |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("%q is not an event: want one or more of %s%s", name,
			strings.Join(terminal, ", "), suggest.DidYouMean(name, terminal))
	}
	return set, nil
}

// Format is how a callback is written. The zero value is FormatRaw.
type Format uint8

// The formats.
const (
	FormatRaw         Format = iota // the backend's body as it came
	FormatEnvelope                  // a JSON object that holds it
	FormatCloudEvents               // CloudEvents 1.0 in HTTP binary mode
)

var formatText = [...]string{"raw", "envelope", "cloudevents"}

// String is the word of the wire contract.
func (f Format) String() string { return formatText[f] }

// ParseFormat reads a format's name, as in Callback-Format.
func ParseFormat(name string) (Format, error) {
	for i, known := range formatText {
		if strings.EqualFold(strings.TrimSpace(name), known) {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a callback format: want %s", name, strings.Join(formatText[:], ", "))
}
