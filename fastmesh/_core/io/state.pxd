# What one worker owns: its connections, exchanges and the worker itself. Declarations only.
# Law: one thread touches all of it. Whatever outlives a call refers to an object by handle; only a Buf owns bytes.
from fastmesh._core.base.buffer cimport Buf, Pools
from fastmesh._core.base.meter cimport Block, Counter, Meters
from fastmesh._core.base.ring cimport Ring
from fastmesh._core.base.slab cimport Slab
from fastmesh._core.base.types cimport i32, i64, u8, u16, u32, u64
from fastmesh._core.base.wheel cimport Timer, Wheel
from fastmesh._core.routing.balancer cimport BalancerState
from fastmesh._core.routing.snapshot cimport ADDRESS_KEY_BYTES, Snapshot
from fastmesh._core.wire.grpc_web cimport WebFrames
from fastmesh._core.wire.hpack cimport HpackDecoder, HpackEncoder
from fastmesh._core.wire.http1_chunked cimport Chunked
from fastmesh._core.wire.http1_head cimport Http1Head, Http1Resume
from fastmesh._core.wire.websocket cimport WEBSOCKET_ACCEPT_BYTES

cdef enum:
    LISTENERS_MAX = 32
    SCRATCH_BYTES = 1048576     # a composed head and a small body; heads are at most HEAD_BYTES_MAX, blocks need thrice that
    HEAD_BYTES_MAX = 196608     # ceiling of the setting: a head must fit a large buffer with room to read on
    EVENTS_PER_TURN = 256
    SMALL_BODY_BYTES = 4096     # copied behind the head: cheaper than a second iovec
    DRIVE_BYTES = 1048576       # moved for one exchange before the others get their turn
    DRIVE_STEPS = 32            # exchanges or reads done for one connection before the others get their turn
    OFFERED_BYTES = 47          # a longer Upgrade is ignored, as a server may (RFC 9110 7.8); of a longer server name the log has the end
    FRAMING_STREAM = 5          # beside wire's Framing: the body of an HTTP/2 stream, up to its END_STREAM
    SESSION_BUCKETS = 64        # of a session's streams by id
    SESSION_RESETS = 64         # ids kept of streams we have reset: what is still on its way for them is expected
    DESTINATIONS = 1024         # whose protocol is remembered; a power of two
    SPLICES = 32                # pipes at a time
    ORIGINALS = 16384           # addresses that intercepted connections were meant for, in use at a time; a power of two
    DIALLED = 4096              # of the process's own connections, known by both ends; a power of two
    ADDRESS_TEXT_BYTES = 56     # of "[IPv6]:port"
    PICK_ORIGINAL = 0x80000000U # beside indexes of endpoints: the rest is an index of an Original

cdef enum ConnKind:
    CONN_LISTENER = 1
    CONN_DOWN
    CONN_UP

# What a connection is doing; decides who handles its events and its timer.
cdef enum ConnState:
    STATE_NONE = 0
    DOWN_IDLE           # between exchanges: no buffer held, idle timeout (or header timeout before the first byte)
    DOWN_HEAD           # part of a head has arrived
    DOWN_BUSY           # an exchange owns it
    DOWN_SNIFF          # what it carries is not known yet; an exchange may already have dialled for it
    DOWN_PROXY          # its PROXY protocol header is awaited
    DOWN_LINGER         # answered and shut for writing: reads are thrown away until the client closes
    UP_CONNECTING
    UP_BUSY
    UP_IDLE             # pooled
    CONN_RELAY          # either side of a tunnel
    CONN_PAIR           # either side of an open relayed connection: `exchange` is the handle of its Relay
    CONN_SESSION        # speaks HTTP/2: its streams have the exchanges

cdef enum ConnFlag:
    CONN_READABLE = 1   # a read may bring bytes (edge-triggered: cleared by a short read)
    CONN_WRITABLE = 2   # a write may succeed (cleared by a partial write)
    CONN_RDHUP = 4      # the peer has sent FIN: a short read does not clear READABLE
    CONN_EOF = 8        # a read has answered 0
    CONN_BROKEN = 16    # writing failed
    CONN_REUSED = 32    # upstream: has carried an exchange before this one
    CONN_DEFERRED = 64  # is in the worker's deferred list
    CONN_SHUT = 128     # we have sent FIN

cdef enum:
    STREAM_UNNUMBERED = 0x80000000U     # above every id: ids go out in their order (RFC 9113 5.1.1), a request may never

# What a connection in DOWN_SNIFF has behind it.
cdef enum SniffFlag:
    SNIFF_DIALLED = 1   # a connection was begun for it before it had said anything
    SNIFF_FAILED = 2    # that could not be made
    SNIFF_WAITING = 4   # first bytes came and did not say enough
    SNIFF_HELLO = 8     # they are, or must be, part of a ClientHello

# What an HTTP/2 stream has behind it.
cdef enum StreamFlag:
    STREAM_REMOTE_END = 1   # the peer sent END_STREAM
    STREAM_LOCAL_END = 2    # we did
    STREAM_RESET = 4        # RST_STREAM went either way, or its connection is gone
    STREAM_HEAD = 8         # its final head came (a request's, or a response's that is no 1xx)
    STREAM_WAITING = 16     # in its session's list of streams that have more to send
    STREAM_UNDONE = 32      # the peer says it did nothing for it: the request may be sent again
    STREAM_GRPC = 64        # a gRPC request
    STREAM_NEVER = 128      # a field of its head was never-indexed
    STREAM_BAD = 512        # we ended it: its peer broke the rules
    STREAM_CANCELLED = 2048 # the peer reset it with CANCEL
    STREAM_STALLED = 256    # it waits for the connection's window, not for room in outb
    STREAM_ANNOUNCED = 1024 # of a connection upstream: it began with a PROXY protocol header, and is that client's alone

# A connection, or one stream of an HTTP/2 connection: to an exchange they are the same.
ctypedef struct Conn:
    u32 generation      # SlabHeader
    u32 next_free
    i32 fd
    u8 kind             # ConnKind
    u8 state            # ConnState
    u8 flags            # ConnFlag
    u8 family           # down: of the client's address
    Timer timer
    Buf inb             # received, not yet consumed
    Buf outb            # composed by us, not yet sent; empty unless the peer is slow
    u64 exchange        # handle; 0: none
    # downstream (a listener uses `listener` alone)
    u8 address[16]      # the client's, network order
    u16 port            # host order; 0 for a unix socket
    u16 listener        # index
    u32 served          # exchanges finished
    Http1Resume resume  # of the head that is arriving; upstream: of the response head
    # upstream; downstream: where it was meant to go, when it was intercepted (io/originals)
    u32 slot            # endpoint
    u32 slot_gen
    u32 newer           # pool list by index, SLAB_NONE at the ends; sessions of a slot, streams that wait: likewise
    u32 older
    # HTTP/2 (io/stream)
    u32 session         # of a connection that speaks it, and of its streams: index + 1 in the sessions; 0: none
    u32 id              # of a stream, STREAM_UNNUMBERED until its first HEADERS; 0: a connection
    u64 parent          # handle of a stream's connection; upstream connection: what it is known by should it come back, 0: not
    i32 send_window     # what the peer lets us send on this stream; may be negative (RFC 9113 6.9.2)
    i32 recv_window     # what it may still send
    u32 recv_size       # what it may send without hearing from us
    u32 credit          # taken out of inb and not yet given back to it
    u32 fresh           # bytes that came into inb since they were last asked for
    u32 tail            # text of the trailer section at the end of inb
    u32 chain           # next stream in the session's bucket, by index
    u16 stream          # StreamFlag
    u8 sniffed          # SniffFlag
    u8 watched          # epoll says when it may be written again

cdef enum SessionFlag:
    SESSION_CLIENT = 1      # we are its client: the connection goes to an endpoint
    SESSION_PREFACE = 2     # the client's preface is awaited
    SESSION_SETTINGS = 4    # the peer's SETTINGS came
    SESSION_GOING = 8       # GOAWAY was sent or received: no new streams
    SESSION_LEAVING = 16    # the first GOAWAY of a drain was sent, the last is due
    SESSION_BULK = 32       # a read filled its buffer: the next may be large
    SESSION_STARVED = 64    # there was no buffer for what a stream brought: reading rests
    SESSION_FLUSH = 128     # in the worker's list of those to write out at the end of the turn
    SESSION_PINGED = 256    # our PING is not answered yet
    SESSION_BLOCK = 512     # a header block goes on in CONTINUATION
    SESSION_SETTLED = 1024  # the peer has acknowledged our SETTINGS
    SESSION_CONNECT = 2048  # client: the server takes extended CONNECT (RFC 8441)

# What an HTTP/2 connection has beside its Conn.
ctypedef struct Session:
    u32 generation          # SlabHeader
    u32 next_free
    u64 conn                # handle
    u32 flags               # SessionFlag
    u32 streams             # open now
    u32 last_id             # highest stream the other side began (server), or we (client)
    u32 peer_streams        # SETTINGS_MAX_CONCURRENT_STREAMS of the peer
    u32 peer_frame          # SETTINGS_MAX_FRAME_SIZE
    i32 peer_window         # SETTINGS_INITIAL_WINDOW_SIZE
    i32 send_window
    i32 recv_window
    u32 credit              # received and not yet given back
    u32 data_id             # stream of the DATA frame that is being read
    u32 data_left           # of its payload, padding not counted
    u32 pad_left
    u8 data_flags
    u8 block_flags          # of the HEADERS that CONTINUATION goes on with
    u16 block_frames        # CONTINUATION frames of this block
    u32 block_id
    Buf block               # owns: the block so far
    u32 waiting_first       # streams that have more to send, by index, SLAB_NONE at the ends
    u32 waiting_last
    u32 glitches            # in thousandths of one, as of glitch_ns
    u32 updates             # WINDOW_UPDATEs that are free: some for each DATA frame we send
    i64 glitch_ns
    i64 idle_ns             # how long it may be without a stream
    i64 ping_ns             # between two PINGs of ours while it has streams, 0: none
    i64 ping_timeout_ns     # and how long their answer may take
    i64 starved_ns          # since when, 0: not
    u32 resets_spent        # client: resets we sent
    u32 reset_at            # where the next id goes in reset_ids
    u32 reset_ids[SESSION_RESETS]
    u32 buckets[SESSION_BUCKETS]    # first stream by id, by index
    HpackDecoder decoder
    HpackEncoder encoder

# What becomes of a body on its way between gRPC-Web and gRPC.
cdef enum PipeWeb:
    PIPE_PLAIN = 0
    PIPE_BINARY         # trailers become its last message
    PIPE_ENCODE         # so they do, and all of it text
    PIPE_DECODE         # text becomes bytes

# One direction of an exchange's body.
ctypedef struct Pipe:
    u8 framing          # Framing
    u8 done             # 1: every byte of the message was taken from the source (trailers included)
    u8 last             # chunked: the last-chunk line was seen; the trailer section follows
    u8 strip            # chunked: the receiver knows no chunks
    u8 wrap             # the receiver wants chunks and the source has none
    u8 sized            # FRAMING_STREAM: Content-Length said left_bytes
    u8 ended            # the receiver was told that this is all
    u8 fault            # Http1Fault after PUMP_BAD
    u32 tail            # trailer section that follows `ready`, for a receiver that gets it in another form
    u16 grpc            # grpc-status of the trailers, and one; 0: none
    u8 web              # PipeWeb
    u8 web_sent         # of the unit of text that `ready` begins with, what the receiver has
    u32 sent            # bytes from the source's r on that were forwarded but are kept for a replay
    u32 head            # of those, the message's head
    u32 ready           # bytes behind `sent` that are lawful body and not yet forwarded
    u8 wide             # a read filled its buffer, and none since has left most of a large one empty: the next may be large
    u8 web_scan         # PIPE_DECODE: state of web_text_scan
    u64 left_bytes      # FRAMING_LENGTH: not yet taken into ready
    u64 moved_bytes     # forwarded so far, heads excluded
    Chunked chunked
    WebFrames frames    # PIPE_BINARY: at the end of `ready`; PIPE_ENCODE: at its beginning

cdef enum ExchangePhase:
    PHASE_ROUTE = 0     # no endpoint yet
    PHASE_PENDING       # waits in a slot's queue for a connection
    PHASE_CONNECT       # its connection is being made
    PHASE_RESPONSE      # request head sent, response head awaited
    PHASE_BODY          # response head delivered
    PHASE_TUNNEL

cdef enum ExchangeFlag:
    EX_DOWN_KEEP = 1        # the client's connection stays open after this exchange
    EX_UP_KEEP = 2          # the upstream's may be pooled
    EX_REPLAY = 4           # every byte sent upstream is still held, from inb.r on
    EX_RETRIED = 8          # was sent again after a reused connection died
    EX_RESPONDED = 16       # a response byte has arrived on the present upstream connection
    EX_ANSWERED = 32        # the final head went to the client (or its first byte)
    EX_HEAD_ONLY = 64       # HEAD
    EX_HTTP10 = 128         # the client speaks HTTP/1.0
    EX_UPGRADE = 256        # asked to upgrade, or CONNECT
    EX_DISCARD = 512        # the rest of the request body is read and thrown away
    EX_FRESH = 1024         # the next upstream connection must be a new one
    EX_IDEMPOTENT = 2048
    EX_COUNTED = 4096       # balancer_begin was called and balancer_end is owed
    EX_STARVED = 8192       # no buffer was free: looked at again by the upstream connection's timer
    EX_FLYING = 16384       # sent, no response head yet: in the flight list of its slot
    EX_HTTP2 = 32768        # the client speaks HTTP/2
    EX_GRPC = 65536         # a gRPC request: errors are told by grpc-status
    EX_NEVER = 131072       # its head had a never-indexed field (RFC 7541 6.2.3)
    EX_SIZED = 262144       # the request has a Content-Length
    EX_EXTENDED = 524288    # on a stream upstream: went as an extended CONNECT
    EX_HTTP1 = 1048576      # goes over HTTP/1: the endpoint's HTTP/2 takes no upgrade
    EX_TCP = 2097152        # a connection relayed as it is, from its first byte to its last
    EX_EARLY = 4194304      # of those: dialled before it is known what the client speaks
    EX_TLS = 8388608        # of those: it begins with a ClientHello, by which it is routed
    EX_PROXY_V1 = 16777216  # its upstream connection begins with a PROXY protocol header
    EX_PROXY_V2 = 33554432
    EX_WEB = 67108864       # a gRPC-Web request that goes on as gRPC
    EX_WEB_TEXT = 134217728 # of those: its body is text
    EX_WEB_ANSWER_TEXT = 268435456  # of those: the answer's is

ctypedef struct Exchange:
    u32 generation          # SlabHeader
    u32 next_free
    u64 down                # handle of the client's connection
    u64 up                  # handle of the upstream's; 0: none
    u8 phase                # ExchangePhase
    u8 method               # Method
    u8 tries                # endpoints that could not be connected to
    u8 retry_connect        # of the route
    u32 retry_grpc          # of the route, for gRPC alone: bit per status that sends it elsewhere
    u32 flags               # ExchangeFlag
    u16 status              # answered to the client, 0: nothing yet
    u16 grpc_status         # of the answer, and one; 0: none was seen
    u32 head_bytes          # of the request head, from the client's inb.r on while EX_REPLAY
    u32 route               # index in the snapshot of `version`
    u32 backend             # same
    u32 endpoint            # same, PICK_NONE: none
    u32 slot                # stable
    u32 slot_gen
    u32 fault               # Fault of the error that ended it, 0: none
    int error               # errno of the last failed connect
    u8 request_framing      # Framing of the request, to begin its pipe anew
    u64 request_length
    u64 version             # snapshot that route, backend and endpoint belong to
    Block* block            # borrows the meters, which live as long as the worker
    Pipe request
    Pipe response
    i64 start_ns            # head complete
    i64 sent_ns             # request head sent on the present connection
    i64 first_ns            # response head arrived, 0: not yet
    i64 active_ns           # a byte last moved
    i64 starved_ns          # no buffer was free since, unless a byte moved later
    i64 deadline_ns         # of the whole exchange, 0: none
    i64 per_try_ns          # timeout, 0: none
    u64 request_bytes       # received, head included
    u64 response_bytes      # sent, head included
    u64 flight_before       # handles of its neighbours in the flight list, 0 at the ends
    u64 flight_after
    u64 pending_next        # handle of the next exchange that waits for this slot
    Buf log                 # owns: what the access log keeps of the request head
    u32 retries
    u8 offered_len
    u8 offered[OFFERED_BYTES]   # value of the request's Upgrade: only one of these may be switched to; EX_TCP: the server name
    u8 accept[WEBSOCKET_ACCEPT_BYTES]   # what Sec-WebSocket-Accept must be, 0: no WebSocket is asked for

# One direction of an open relayed connection.
ctypedef struct Half:
    u64 moved_bytes         # as in Pipe, as are the others
    u32 ready
    u8 done
    u8 ended
    u8 wide
    u8 pipe                 # index and one in the splices, 0: none; what is in it is not in `ready`

# An open relayed connection.
ctypedef struct Relay:
    u32 generation          # SlabHeader
    u32 next_free
    u32 down                # both connections by index: they end with it
    u32 up
    Block* block            # borrows the meters, which live as long as the worker
    i64 start_ns            # when the client came
    i64 active_ns           # a byte last moved
    i64 starved_ns          # no buffer was free since, unless a byte moved later
    Half there              # to the upstream
    Half back
    u32 route               # index in the snapshot of `version`
    u32 version             # its low half
    u8 tls                  # it began with a ClientHello
    u8 retries

# A pipe that a busy direction of a relayed connection goes through.
ctypedef struct Splice:
    i32 read_fd             # owns both
    i32 write_fd
    u32 left                # bytes in it
    u8 used
    u8 thin                 # of the pumps that moved bytes, how many moved few since the last that did not

# The server name that a relayed connection asks for, while the access log is on.
ctypedef struct ServerName:
    u32 generation          # of the client's Conn it is of
    u8 n
    u8 text[OFFERED_BYTES]

# Where a client's PROXY protocol header says it came to; its own address is in the Conn.
ctypedef struct Announced:
    u32 generation          # of the Conn it is of
    u16 port
    u8 family
    u8 address[16]

# A destination whose connections began with HTTP.
ctypedef struct Destination:
    u64 key                 # 0: none
    i64 until_ns

# An address that intercepted connections were meant for. It has a slot, as an endpoint of a snapshot has.
ctypedef struct Original:
    u8 key[ADDRESS_KEY_BYTES]
    u8 protocol             # set for it (routing/original), in the snapshot of `version`
    u8 name_len
    u32 refs                # client connections that were meant for it
    u32 backend             # that has it as an endpoint, in the snapshot of `version`
    u32 chain               # next in its bucket, by index and one
    u32 newer               # in the list of those without client, by index and one, 0 at the ends
    u32 older
    u32 address_len
    u64 hash
    u64 version
    u8 address[28]          # struct sockaddr_in or sockaddr_in6
    u8 name[ADDRESS_TEXT_BYTES]     # "127.0.0.1:80"

# A worker's view of what waits for a connection to one endpoint; by slot.
ctypedef struct Waiting:
    u64 first               # handle of an Exchange, 0: none
    u64 last
    u32 count
    u8 freed                # is in the worker's list of slots to serve
    int error               # errno of the endpoint's last failed connect
    u64 flight_first        # handle of the exchange that waits longest for a response head from this slot, 0: none
    u64 flight_last
    u32 backend             # index in the adopted snapshot of the endpoint with this slot
    u32 endpoint            # same
    u32 sessions            # HTTP/2 connections to it by index, and one; 0: none
    u32 peer_streams        # SETTINGS_MAX_CONCURRENT_STREAMS that its last connection was told, 0: none

# What Python sends: small, rare, whole.
cdef enum CommandKind:
    COMMAND_WAKE = 1
    COMMAND_ADD_LISTENER
    COMMAND_REMOVE_LISTENER
    COMMAND_DRAIN
    COMMAND_STOP

ctypedef struct Command:
    u32 kind                # CommandKind
    i32 fd
    u32 listener
    u32 pad

# What the worker tells Python.
cdef enum EventKind:
    EVENT_ENDPOINT_OUT = 0
    EVENT_ENDPOINT_READY
    EVENT_ACCEPT_PAUSED
    EVENT_LISTENER_FAILED
    EVENT_DRAINED
    EVENT_LOOP              # slot: listener, value: port that the connection was meant for

ctypedef struct Event:
    u32 kind                # EventKind
    u32 slot
    i32 error               # errno or 0
    u32 value

# The doors that are older than a worker and outlive it.
ctypedef struct Shared:
    void* snapshot          # shares release/acquire: the published Snapshot*
    u32 workers
    u64 adopted[256]        # shares release/acquire: version each worker reads; ~0: it reads none
    u64 dialled[DIALLED]    # shares relaxed: connections we opened, by what they are known by; what is overwritten is forgotten

ctypedef struct LogTemplate

ctypedef struct Worker:
    u32 index
    i32 cpu                 # to pin to, -1: none
    int epoll_fd
    int mailbox_fd          # eventfd: a command waits
    int event_fd            # eventfd: an event waits
    u8 draining
    u8 stopping
    i64 now_ns              # clock of this turn
    i64 wall_ns             # same moment, realtime
    i64 date_until_ns       # when `date` is out of date, by the clock of now_ns
    u8 date[32]             # IMF-fixdate
    Shared* shared          # borrows the publisher, kept alive by the bridge
    Snapshot* snap          # shares epoch: adopted at the start of a turn
    Slab conns
    Slab exchanges
    Slab relays             # open ones
    Slab sessions
    Pools pools
    Wheel wheel             # of connections
    BalancerState balancer
    Waiting* waiting        # owns; by slot
    u32* freed              # owns; slots where a connection came free while exchanges wait
    u32 freed_count
    u32 slot_capacity       # of all arrays by slot
    u32 slot_high           # slots from here on were never in a snapshot
    u32 original_slot       # slots from here on are of originals
    u32 original_high       # how many of them were ever used
    u32 original_oldest     # of those without client, by index and one, 0: none
    u32 original_newest
    Original* originals     # owns; ORIGINALS
    u32* original_buckets   # owns; ORIGINALS, first in each by index and one
    u64 original_seed
    u16 ports[LISTENERS_MAX]        # that its listeners are bound to; 0: no IP port
    Meters meters
    u32* block_of           # owns; [listener * meter_capacity + meter] -> block + 1
    u32 meter_capacity
    u64 listeners[LISTENERS_MAX]    # handles, 0: none
    u32 down_count
    u32 up_count
    u32 up_idle_count
    u32 exchange_count
    u32 pending_count
    u32 tunnel_count
    u32 relay_count
    u64* deferred           # owns; connections to look at again next turn
    u32 deferred_count
    u32 ready               # events of this turn
    u64* flushes            # owns; HTTP/2 connections to write out at the end of this turn
    u32 flush_count
    u32 stream_count
    Destination* destinations   # owns; DESTINATIONS, by key
    Announced* announced    # owns; by index of the connection
    ServerName* server_names    # owns; same
    Splice splices[SPLICES]
    Ring commands
    Ring events
    Ring* log               # borrows the log, kept alive by the bridge; NULL: no access log
    void* log_template      # shares release/acquire: LogTemplate of io/access_log
    u64 opened              # file descriptors, for leak checks
    u64 closed
    u64 head_of             # handle of the exchange whose request head is in `head`, 0: none
    Http1Head head          # parsed just now
    u8* scratch             # owns: SCRATCH_BYTES
