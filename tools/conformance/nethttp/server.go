package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const patience = 10 * time.Second

var cancelled atomic.Int64 // requests whose client went away before their answer

// body is n bytes in which every 8-byte word differs, so that a lost or doubled piece shows.
func body(n int) []byte {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%08x", i)
	}
	return []byte(b.String()[:n])
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Got-Sum, Length")
	if r.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		w.Header().Del("Trailer")
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	n, err := io.Copy(w, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if r.ContentLength < 0 {
		w.Header().Set("Got-Sum", r.Trailer.Get("Sum"))
		w.Header().Set("Length", strconv.FormatInt(n, 10))
	}
}

func fields(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Got-Method", r.Method)
	w.Header().Set("Got-Host", r.Host)
	w.Header().Set("Got-Target", r.RequestURI)
	w.Header().Set("Got-Cookie", strings.Join(r.Header.Values("Cookie"), " | "))
	w.Header().Set("Got-Large", strconv.Itoa(len(r.Header.Get("Large"))))
	w.Header()["Several"] = []string{"one", "two"}
	w.Header().Set("Answer", strings.Repeat("a", 20000))
}

func early(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusOK)
	fmt.Fprint(w, "late")
}

// pieces sends one piece for each line that it reads.
func pieces(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	_ = c.Flush()
	line := make([]byte, 5)
	for {
		if _, err := io.ReadFull(r.Body, line); err != nil {
			return
		}
		_, _ = w.Write(line)
		_ = c.Flush()
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(body(100_000))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// hang does not end by itself. With ?tick it goes on sending: a proxy lets an HTTP/1 client close its sending side and
// still be answered, so it learns that the client is gone only from what it sends.
func hang(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	end := time.After(patience)
	tick := make(<-chan time.Time)
	if r.URL.Query().Has("tick") {
		tick = time.Tick(10 * time.Millisecond)
	}
	w.WriteHeader(http.StatusOK)
	_ = c.Flush()
	for {
		select {
		case <-r.Context().Done():
			cancelled.Add(1)
			return
		case <-tick:
			_, _ = w.Write([]byte("tick"))
			_ = c.Flush()
		case <-end:
			return
		}
	}
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

func serve(p *http.Protocols) {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/fields", fields)
	mux.HandleFunc("/early", early)
	mux.HandleFunc("/pieces", pieces)
	mux.HandleFunc("/cut", cut)
	mux.HandleFunc("/hang", hang)
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "code")) })
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body(number(r, "n"))) })
	mux.HandleFunc("/cancelled", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, cancelled.Load()) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listen=%s\n", listener.Addr())
	server := &http.Server{Handler: mux, Protocols: p, ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(server.Serve(listener))
}
