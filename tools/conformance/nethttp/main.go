// Go's net/http as server and as client, over cleartext HTTP/1.1 or HTTP/2 with prior knowledge.
//
//	nethttp serve http1|http2           prints listen=ADDRESS and serves until it is ended
//	nethttp ask http1|http2 ADDRESS     tries every case, prints "CASE<tab>what is wrong" a line
package main

import (
	"fmt"
	"net/http"
	"os"
)

func protocols(name string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(name == "http1")
	p.SetUnencryptedHTTP2(name == "http2")
	return p
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(protocols(os.Args[2]))
	case len(os.Args) == 4 && os.Args[1] == "ask":
		ask(protocols(os.Args[2]), os.Args[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: nethttp serve http1|http2 | nethttp ask http1|http2 ADDRESS")
		os.Exit(2)
	}
}
