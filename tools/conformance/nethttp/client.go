package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

type asker struct {
	client *http.Client
	base   string
	http1  bool
}

// unsized hides the length of a reader, so that the body's length is unknown to the client.
type unsized struct{ io.Reader }

func (a *asker) do(method, path string, in io.Reader, change func(*http.Request)) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, in)
	if err != nil {
		return nil, nil, err
	}
	if change != nil {
		change(r)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer, data, err
}

func expect(what string, got, want any) error {
	if got != want {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}

func (a *asker) methods() error {
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		answer, _, err := a.do(method, "/fields?a=b%20c&d", nil, nil)
		if err != nil {
			return err
		}
		err = errors.Join(
			expect("method", answer.Header.Get("Got-Method"), method),
			expect("target", answer.Header.Get("Got-Target"), "/fields?a=b%20c&d"),
			expect("host", answer.Header.Get("Got-Host"), strings.TrimPrefix(a.base, "http://")),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *asker) fields() error {
	answer, _, err := a.do("GET", "/fields", nil, func(r *http.Request) {
		r.Header.Set("Large", strings.Repeat("x", 30000))
		for i := range 20 {
			r.AddCookie(&http.Cookie{Name: fmt.Sprintf("c%d", i), Value: "v"})
		}
	})
	if err != nil {
		return err
	}
	want := make([]string, 20)
	for i := range want {
		want[i] = fmt.Sprintf("c%d=v", i)
	}
	return errors.Join(
		expect("the large field's size", answer.Header.Get("Got-Large"), "30000"),
		expect("the answer's field's size", len(answer.Header.Get("Answer")), 20000),
		expect("cookie", answer.Header.Get("Got-Cookie"), strings.Join(want, "; ")),
		expect("repeated field", strings.Join(answer.Header.Values("Several"), "|"), "one|two"),
	)
}

func (a *asker) echo(size int, sized bool) error {
	data := body(size)
	var in io.Reader = bytes.NewReader(data)
	if !sized {
		in = unsized{in}
	}
	_, out, err := a.do("POST", "/echo", in, nil)
	if err == nil && !bytes.Equal(out, data) {
		err = fmt.Errorf("%d bytes came back changed, as %d", size, len(out))
	}
	return err
}

func (a *asker) head() error {
	answer, data, err := a.do("HEAD", "/bytes?n=1234", nil, nil)
	if err != nil {
		return err
	}
	return errors.Join(expect("length", answer.ContentLength, int64(1234)), expect("body", len(data), 0))
}

func (a *asker) statuses() error {
	for _, code := range []int{200, 204, 205, 301, 304, 400, 404, 418, 500, 503, 599} {
		client := *a.client
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, _, err := (&asker{&client, a.base, a.http1}).do("GET", fmt.Sprintf("/status?code=%d", code), nil, nil)
		if err != nil {
			return err
		}
		if err := expect("status", answer.StatusCode, code); err != nil {
			return err
		}
	}
	return nil
}

func (a *asker) trailers() error {
	answer, _, err := a.do("POST", "/echo", unsized{strings.NewReader("hello")}, func(r *http.Request) {
		r.Header.Set("TE", "trailers")
		r.Trailer = http.Header{"Sum": {"17"}}
	})
	if err != nil {
		return err
	}
	return errors.Join(
		expect("the request's trailer", answer.Trailer.Get("Got-Sum"), "17"),
		expect("the response's trailer", answer.Trailer.Get("Length"), "5"),
	)
}

func (a *asker) early() error {
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprintf("%d %s", code, header.Get("Link")))
		return nil
	}}
	answer, data, err := a.do("GET", "/early", nil, func(r *http.Request) {
		*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	})
	if err != nil {
		return err
	}
	return errors.Join(
		expect("interim", strings.Join(hints, ","), "103 </style.css>; rel=preload"),
		expect("status", answer.StatusCode, 200),
		expect("body", string(data), "late"),
	)
}

func (a *asker) expectContinue() error {
	said := 0
	trace := &httptrace.ClientTrace{Got100Continue: func() { said++ }}
	_, data, err := a.do("POST", "/echo", bytes.NewReader(body(100_000)), func(r *http.Request) {
		r.Header.Set("Expect", "100-continue")
		*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	})
	if err != nil {
		return err
	}
	return errors.Join(expect("body", len(data), 100_000), expect("100 responses", said, 1))
}

func (a *asker) concurrent() error {
	found := make([]error, 100)
	var all sync.WaitGroup
	for i := range found {
		all.Add(1)
		go func() {
			defer all.Done()
			found[i] = a.echo(1000*i, i%2 == 0)
		}()
	}
	all.Wait()
	return errors.Join(found...)
}

// duplex: each piece comes back before the next one is sent.
func (a *asker) duplex() error {
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", a.base+"/pieces", reader)
	if err != nil {
		return err
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for i := range 20 {
		sent := fmt.Sprintf("%05d", i)
		if _, err := io.WriteString(writer, sent); err != nil {
			return err
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(answer.Body, got); err != nil {
			return err
		}
		if err := expect("piece", string(got), sent); err != nil {
			return err
		}
	}
	writer.Close()
	rest, err := io.ReadAll(answer.Body)
	return errors.Join(err, expect("rest", len(rest), 0))
}

// cut: an answer that the server breaks off must not look whole.
func (a *asker) cut() error {
	_, data, err := a.do("GET", "/cut", nil, nil)
	if err == nil {
		return fmt.Errorf("a body that was broken off after %d bytes ends like a whole one", len(data))
	}
	return nil
}

func (a *asker) cancelled() (int, error) {
	_, data, err := a.do("GET", "/cancelled", nil, nil)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// cancel: the server learns that the client no longer wants its answer.
func (a *asker) cancel() error {
	before, err := a.cancelled()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	target := a.base + "/hang"
	if a.http1 {
		target += "?tick"
	}
	r, err := http.NewRequestWithContext(ctx, "GET", target, nil)
	if err != nil {
		return err
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return err
	}
	cancel()
	answer.Body.Close()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		now, err := a.cancelled()
		if err != nil || now == before+1 {
			return err
		}
	}
	return errors.New("the server never learns of it")
}

func ask(p *http.Protocols, address string) {
	transport := &http.Transport{
		Protocols: p, DisableCompression: true, ExpectContinueTimeout: patience, MaxIdleConnsPerHost: 100,
	}
	a := &asker{&http.Client{Transport: transport}, "http://" + address, p.HTTP1()}
	report := func(name string, err error) {
		wrong := ""
		if err != nil {
			wrong = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Printf("%s\t%s\n", name, wrong)
	}
	report("methods", a.methods())
	report("fields", a.fields())
	report("head", a.head())
	report("statuses", a.statuses())
	for _, size := range []int{0, 1, 65535, 65536, 10_000_000} {
		report(fmt.Sprintf("echo %d bytes of known length", size), a.echo(size, true))
		report(fmt.Sprintf("echo %d bytes of unknown length", size), a.echo(size, false))
	}
	report("trailers", a.trailers())
	report("early hints", a.early())
	report("expect 100-continue", a.expectContinue())
	report("100 at once", a.concurrent())
	report("full duplex", a.duplex())
	report("broken off by the server", a.cut())
	report("cancelled by the client", a.cancel())
}
