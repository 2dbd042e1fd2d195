"""The words around the tables of docs/configuration.md; `fastmesh env --markdown` prints the page."""

PAGE = """\
# Configuration

This page is made by `python -m fastmesh env --markdown`.

One variable is enough: `FASTMESH_UPSTREAM=127.0.0.1:9000 fastmesh run`. Every setting is a variable; a file can say the
same and more. `fastmesh env` shows every setting with its effective value and where that came from; `fastmesh check`
says all that is wrong with the configuration and the machine at once.

* A variable wins over the file, the file over the default. An empty variable counts as not set (`FASTMESH_VIA` apart).
* A name that fastmesh does not know, whether of a variable `FASTMESH_...` or of a key in the file, is an error. The
  variables that Kubernetes makes of a Service called `fastmesh` are not.
* All errors are reported at once, with key, value, source and rule, and the exit code is 64.
* The file is read again on SIGHUP and when it changes. A file with an error is refused and the old configuration stays.
  Settings that are *taken at start only* need a restart.

## Values

| Type | Written as |
|---|---|
| duration | `250ms`, `15s`, `2m`, `1h`, also `us` and `ns`; a plain number is seconds. `off` where 0 switches off |
| size | `64KiB`, `16k`, `1MiB`, or bytes; k, m and g count by 1024 |
| integer | a whole number; `off` where 0 switches off |
| list of gRPC statuses | names or numbers by comma, as in `unavailable,8`; in a file also a list. `off` for none |
| ports | numbers and ranges by comma, as in `25,4000-4010`; in a file also a list. `off` for none |
| protocols | `WHERE=PROTOCOL` by comma, as `8443=tls,10.0.0.0/8:9000=http,[fd00::/8]=opaque`; in a file also a list |
| switch | `on`, `off` (in a variable also `true`, `false`, `yes`, `no`, `1`, `0`; in a file `true`, `false`) |
| address | `host:port`, `[IPv6]:port` or `unix:/path`; `[::]` takes IPv4 too |
| endpoints | addresses by comma, each maybe with `;weight=N`, N from 1 to 1000; in a file also a list |

An access-log template is text with fields in braces, as in `{{method}} {{target}} {{status}} {{header:x-request-id}}`.
A brace itself is written twice. `header` takes the name of a request header. Fields:
{log_fields}.

## Settings

The key in a file is the variable's name without `FASTMESH_`, in lower case: `FASTMESH_HEAD_BYTES` is `head_bytes`.

{settings}
## The file

TOML or YAML, by the name's ending: `.toml`, `.yaml`, `.yml`. YAML needs `pip install 'fastmesh[yaml]'`; its booleans
are `true` and `false` only, so that `off` stays a word. `fastmesh check --schema` prints the JSON schema.

```toml
request_timeout = "30s"
access_log = "json"

[[listeners]]
name = "public"
address = "0.0.0.0:4143"

[[backends]]
name = "shop"
endpoints = ["10.0.0.1:9000", {{ address = "10.0.0.2:9000", weight = 3 }}]
connect_timeout = "500ms"

[[backends]]
name = "shop-canary"
endpoints = ["10.0.0.3:9000"]

[[routes]]
name = "canary"
hosts = ["shop.example", "*.shop.example"]
path_prefix = "/v2"
headers = {{ x-canary = "yes", authorization = true }}
backend = "shop-canary"

[[routes]]
name = "shop"
backend = "shop"
```

### `[[listeners]]`

{listeners}
A key that a listener does not say has the value of the setting with `listener_` before its name. A listener that is not
for HTTP alone relays connections: each goes to the backend of the route that takes it, byte for byte. What takes every
request (the route `default`) takes every connection that no other route does, so one variable more relays a database:
`FASTMESH_UPSTREAM=127.0.0.1:3306 FASTMESH_LISTENER_PROTOCOL=detect fastmesh run`.

A listener that is `transparent` takes connections that the kernel redirects, and sends them on to where they were
meant to go (docs/redirect.md). Its protocol is `detect` where it says none and that of others is `http`.
`FASTMESH_TRANSPARENT` adds such listeners to those that are asked for.

`listen` is the short form of this list, and one file has one of the two. The first address of `listen` is the listener
`default`, the second `default-2`, and so on. `FASTMESH_LISTEN` replaces the file's listeners.

### `[[backends]]`

{backends}
A key that a backend does not say has the value of the setting. That of `idle_timeout`, `max_connections`, `max_idle`,
`protocol`, `max_streams`, `ping_interval` and `ping_timeout` has `upstream_` before its name; those of the others are
called the same.

`upstream` is the short form of a backend called `default`, and one file has one of the two. `FASTMESH_UPSTREAM`
replaces the endpoints of the file's backend `default`, whose other keys stay; without one it makes it.

### `[[routes]]`

{routes}
All conditions of a route must hold. Where several routes match, the more specific one is taken: an exact host before a
longer suffix before a shorter one before none, then an exact path before a longer prefix before none, then a route with
methods, then more headers, then the order in the file.

A route with `tcp`, `sni` or `alpn` is of relayed connections, on listeners whose protocol is not `http`, and has no
other condition but `listeners`. TLS is routed by the name and the protocols that its ClientHello has: an exact name
before a longer suffix before none, then a route with `alpn`. Metrics of relayed connections are by route.

The route `default` sends everything to a backend. It is there of itself when the file has no routes and there is a
backend `default` or only one backend, and when `upstream` is set and no route of the file sends to `default` or is
called so.
"""
