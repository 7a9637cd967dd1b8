// Package caddymodule puts package task into Caddy:
//
//	callback                      the app: a store and its engine, shared over reloads    app.go
//	callback.stores.*             where tasks are kept                                    stores.go
//	http.handlers.callback        takes requests with a callback URL, passes others on    handler.go
//	http.handlers.callback_tasks  a task as its client sees it                            tasks.go
//	admin.api.callback            all tasks, for the operator                             admin.go
//
// The backend of a task is whatever follows the callback handler in its route,
// see tail.go. What precedes it (authentication, rate limits, encode) was done
// when the request was accepted and is not repeated.
package caddymodule
