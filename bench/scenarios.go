package main

// scenario is one question that the benchmark answers.
type scenario struct {
	name     string
	about    string
	large    bool // only with -large
	profiled bool // makes CPU profiles with -profile
	run      func(*bench) error
}

var scenarios = []scenario{
	{"passthrough", "requests without a callback URL, with callback in the route and without", false, true, passthrough},
	{"accept", "how fast requests are accepted, while a slow backend keeps all tasks pending", false, true, accept},
	{"whole", "whole tasks, from the first request to the last callback", false, true, whole},
	{"commit", "the store alone: group commit, and one transaction per put", false, false, commit},
	{"latency", "one task at a time on an idle machine", false, false, latency},
	{"idle", "a process with nothing to do", false, false, idle},
	{"million", "a million pending tasks: memory, starts, rates, disk", true, false, million},
	{"bodies", "10,000 tasks with bodies of 1 MiB within 256 MiB", true, false, bodies},
}
