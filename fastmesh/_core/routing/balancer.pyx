from libc.string cimport memset

from fastmesh._core.base.status cimport OK, FULL
from fastmesh._core.base.types cimport u8, u32, u64, i64, f64
from fastmesh._core.routing.ewma cimport ewma_add, ewma_init, ewma_read
from fastmesh._core.routing.snapshot cimport (
    BALANCER_LEAST_REQUEST, BALANCER_P2C_EWMA, BALANCER_ROUND_ROBIN, Backend, Endpoint, Snapshot,
)
from fastmesh._core.routing.weights cimport Weights, WeightTable, weights_free, weights_new, weights_owner

cdef enum:
    DRAWS_MOST = 8          # of one endpoint
    PAIR_DRAWS_MOST = 4     # of two
    SLOW_FACTOR = 100       # a failure's sample is at most this many defaults

# What an endpoint is good for at this moment; a higher one is the better choice.
cdef enum Standing:
    STAND_NOT = 0           # out, or being probed by another exchange
    STAND_AVOIDED_DUE
    STAND_DUE               # out, and its retry time has come
    STAND_AVOIDED
    STAND_READY

cdef f64 RAMP_LEAST = 0.1
cdef f64 FLOOR_SHARE = 1.0 / 1024.0
cdef f64 LATE_RATIO = 2.0     # one that is slower than the other by more is late


cdef inline u64 rng_next(BalancerState* b) noexcept nogil:
    cdef u64 x = b.rng
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    b.rng = x
    return x * <u64>0x2545F4914F6CDD1D


# An even number below n from 32 random bits.
cdef inline u32 scaled(u64 bits32, u32 n) noexcept nogil:
    return <u32>((bits32 * n) >> 32)


cdef inline f64 rng_share(BalancerState* b) noexcept nogil:
    return <f64>(rng_next(b) >> 11) * (1.0 / 9007199254740992.0)


cdef inline EndpointState* state_of(const BalancerState* b, const Endpoint* e) noexcept nogil:
    return &b.slots[e.slot] if e.slot < b.slot_capacity else NULL


# The state of a slot while it still belongs to that generation.
cdef inline EndpointState* state_live(const BalancerState* b, u32 slot, u32 slot_gen) noexcept nogil:
    if slot >= b.slot_capacity or b.slots[slot].slot_gen != slot_gen:
        return NULL
    return &b.slots[slot]


cdef inline Standing standing(const EndpointState* state, bint avoided, i64 now_ns) noexcept nogil:
    if state == NULL:
        return STAND_NOT
    if state.health == ENDPOINT_READY:
        return STAND_AVOIDED if avoided else STAND_READY
    if now_ns < state.retry_ns:
        return STAND_NOT
    return STAND_AVOIDED_DUE if avoided else STAND_DUE


cdef inline f64 ramp_share(const EndpointState* state, const Backend* backend, i64 now_ns) noexcept nogil:
    cdef f64 share
    if backend.ramp_ns <= 0 or now_ns - state.born_ns >= backend.ramp_ns:
        return 1.0
    share = <f64>(now_ns - state.born_ns) / <f64>backend.ramp_ns
    return share if share > RAMP_LEAST else RAMP_LEAST


cdef i64 backoff_ns(BalancerState* b, const Backend* backend, u32 failures) noexcept nogil:
    cdef i64 wait = backend.backoff_min_ns if backend.backoff_min_ns > 0 else 1
    cdef i64 most = backend.backoff_max_ns if backend.backoff_max_ns > 0 else wait
    while failures > 1 and wait < most:
        wait = wait * 2 if wait <= most >> 1 else most
        failures -= 1
    if wait > most:
        wait = most
    return wait - <i64>(<f64>wait * 0.25 * rng_share(b))


cdef void begin_probe(BalancerState* b, const Backend* backend, EndpointState* state, i64 now_ns) noexcept nogil:
    cdef i64 wait = backoff_ns(b, backend, state.failures)
    state.health = ENDPOINT_PROBING
    # Should this probe never be decided, another may be made then.
    state.retry_ns = now_ns + (wait if wait > backend.connect_timeout_ns else backend.connect_timeout_ns)


cdef void make_ready(EndpointState* state, i64 now_ns) noexcept nogil:
    state.health = ENDPOINT_READY
    state.failures = 0
    state.retry_ns = 0
    state.born_ns = now_ns
    state.measured = 0


# The best endpoint of all, looked for from a random one on.
cdef u32 pick_scan(BalancerState* b, const Snapshot* s, const Backend* backend, u32 avoid, i64 now_ns) noexcept nogil:
    cdef u32 n = backend.endpoint_count
    cdef u32 at = scaled(rng_next(b) >> 32, n)
    cdef u32 best = <u32>PICK_NONE
    cdef Standing best_standing = STAND_NOT
    cdef Standing found
    cdef u32 left, endpoint
    for left in range(n):
        endpoint = backend.endpoint_first + at
        found = standing(state_of(b, &s.endpoints[endpoint]), endpoint == avoid, now_ns)
        if found > best_standing:
            best_standing = found
            best = endpoint
            if found == STAND_READY:
                break
        at += 1
        if at == n:
            at = 0
    if best_standing == STAND_DUE or best_standing == STAND_AVOIDED_DUE:
        begin_probe(b, backend, state_of(b, &s.endpoints[best]), now_ns)
    return best


# What an exchange may take that is sent to it now.
cdef inline f64 latency_of(const EndpointState* state, const Backend* backend, i64 now_ns) noexcept nogil:
    cdef f64 latency = ewma_read(&state.ewma, now_ns, <f64>backend.ewma_decay_ns)
    cdef f64 least = <f64>backend.ewma_default_ns * FLOOR_SHARE
    cdef f64 age
    if latency < least:
        latency = least
    if state.oldest_ns:
        age = <f64>(now_ns - state.oldest_ns)
        if age > latency:
            return age
    return latency


# What it was last known to take: an estimate that decayed for want of answers calls nobody else late.
cdef inline f64 known_of(const EndpointState* state, f64 latency) noexcept nogil:
    return state.ewma.value_ns if state.ewma.value_ns > latency else latency


# An idle endpoint of which nothing is known is worth one exchange to learn it.
cdef inline bint is_curious(const EndpointState* state, const EndpointState* other) noexcept nogil:
    return not state.measured and state.in_flight == 0 and other.measured


# 1 when the second of two ready endpoints is the lighter one.
cdef bint second_wins(const Snapshot* s, const Backend* backend, const EndpointState* one, u32 first,
                      const EndpointState* two, u32 second, i64 now_ns) noexcept nogil:
    cdef f64 one_load = <f64>one.in_flight + 1.0
    cdef f64 two_load = <f64>two.in_flight + 1.0
    cdef f64 one_latency, two_latency, one_known, two_known
    if backend.balancer == BALANCER_P2C_EWMA:
        if one.measured != two.measured:
            if is_curious(one, two):
                return 0
            if is_curious(two, one):
                return 1
        one_latency = latency_of(one, backend, now_ns)
        two_latency = latency_of(two, backend, now_ns)
        one_load *= one_latency
        two_load *= two_latency
        one_known = LATE_RATIO * known_of(one, one_latency)
        two_known = LATE_RATIO * known_of(two, two_latency)
        # times (slower / (LATE_RATIO * known of the faster))^2, without dividing
        if two_latency > one_known:
            two_load *= two_latency * two_latency
            one_load *= one_known * one_known
        elif one_latency > two_known:
            one_load *= one_latency * one_latency
            two_load *= two_known * two_known
    # a / x < b / y without dividing
    one_load *= <f64>s.endpoints[second].weight * ramp_share(two, backend, now_ns)
    two_load *= <f64>s.endpoints[first].weight * ramp_share(one, backend, now_ns)
    return two_load < one_load


cdef u32 pick_two(BalancerState* b, const Snapshot* s, const Backend* backend, u32 avoid, i64 now_ns) noexcept nogil:
    cdef u32 n = backend.endpoint_count
    cdef u32 draw, first, second
    cdef u64 bits
    cdef EndpointState* one
    cdef EndpointState* two
    cdef Standing one_stands, two_stands
    for draw in range(<u32>PAIR_DRAWS_MOST):
        bits = rng_next(b)
        first = scaled(bits >> 32, n)
        second = scaled(bits & <u64>0xFFFFFFFF, n - 1)
        if second >= first:
            second += 1
        first += backend.endpoint_first
        second += backend.endpoint_first
        one = state_of(b, &s.endpoints[first])
        two = state_of(b, &s.endpoints[second])
        one_stands = standing(one, first == avoid, now_ns)
        two_stands = standing(two, second == avoid, now_ns)
        if one_stands == STAND_READY and two_stands == STAND_READY:
            return second if second_wins(s, backend, one, first, two, second, now_ns) else first
        if avoid == <u32>PICK_NONE and one_stands == STAND_DUE:
            begin_probe(b, backend, one, now_ns)
            return first
        if avoid == <u32>PICK_NONE and two_stands == STAND_DUE:
            begin_probe(b, backend, two, now_ns)
            return second
        if one_stands == STAND_READY:
            return first
        if two_stands == STAND_READY:
            return second
        if n == 2:
            break
    return pick_scan(b, s, backend, avoid, now_ns)


# The next number of a weight table: the round robin's walk, else a random one.
cdef inline u64 next_number(BalancerState* b, const WeightTable* t, u32 backend, bint walk) noexcept nogil:
    cdef u64 number
    if walk and backend < b.cursor_capacity:
        number = b.cursors[backend]
        if number >= t.total:
            number = 0
        b.cursors[backend] = number + t.stride if number < t.total - t.stride else number - (t.total - t.stride)
        return number
    if t.total <= <u64>0xFFFFFFFF:
        return ((rng_next(b) >> 32) * t.total) >> 32
    number = <u64>(rng_share(b) * <f64>t.total)
    return number if number < t.total else t.total - 1


cdef u32 pick_drawn(BalancerState* b, const Snapshot* s, u32 which, u32 avoid, i64 now_ns) noexcept nogil:
    cdef const Backend* backend = &s.backends[which]
    cdef const Weights* weights = <const Weights*>s.picks
    cdef const WeightTable* t = &weights.tables[which]
    cdef bint walk = backend.balancer == BALANCER_ROUND_ROBIN
    cdef u32 passed_over = <u32>PICK_NONE
    cdef u32 draw, endpoint
    cdef EndpointState* state
    cdef Standing stands
    cdef f64 share
    for draw in range(<u32>DRAWS_MOST):
        endpoint = backend.endpoint_first + weights_owner(weights, t, next_number(b, t, which, walk))
        state = state_of(b, &s.endpoints[endpoint])
        stands = standing(state, endpoint == avoid, now_ns)
        if stands == STAND_READY:
            share = ramp_share(state, backend, now_ns)
            if share >= 1.0 or rng_share(b) < share:
                return endpoint
            if passed_over == <u32>PICK_NONE:
                passed_over = endpoint
        elif stands == STAND_DUE and avoid == <u32>PICK_NONE:
            begin_probe(b, backend, state, now_ns)
            return endpoint
    if passed_over != <u32>PICK_NONE:
        return passed_over
    return pick_scan(b, s, backend, avoid, now_ns)


# A backend of one endpoint: nothing to draw and nothing to avoid it for.
cdef inline u32 pick_only(BalancerState* b, const Snapshot* s, const Backend* backend, i64 now_ns) noexcept nogil:
    cdef EndpointState* state = state_of(b, &s.endpoints[backend.endpoint_first])
    cdef Standing stands = standing(state, 0, now_ns)
    if stands == STAND_NOT:
        return <u32>PICK_NONE
    if stands == STAND_DUE:
        begin_probe(b, backend, state, now_ns)
    return backend.endpoint_first


cdef u32 balancer_pick(BalancerState* b, const Snapshot* s, u32 backend, u32 avoid, i64 now_ns) noexcept nogil:
    cdef const Backend* which = &s.backends[backend]
    if which.endpoint_count <= 1:
        return pick_only(b, s, which, now_ns) if which.endpoint_count == 1 else <u32>PICK_NONE
    if which.balancer == BALANCER_P2C_EWMA or which.balancer == BALANCER_LEAST_REQUEST:
        return pick_two(b, s, which, avoid, now_ns)
    return pick_drawn(b, s, backend, avoid, now_ns)


cdef void balancer_count(const BalancerState* b, const Snapshot* s, u32 backend, u32* ready, u32* out) noexcept nogil:
    cdef const Backend* which = &s.backends[backend]
    cdef const EndpointState* state
    cdef u32 i
    ready[0] = 0
    out[0] = 0
    for i in range(which.endpoint_count):
        state = state_of(b, &s.endpoints[which.endpoint_first + i])
        if state != NULL and state.health == ENDPOINT_READY:
            ready[0] += 1
        else:
            out[0] += 1


cdef void balancer_begin(BalancerState* b, u32 slot) noexcept nogil:
    if slot < b.slot_capacity:
        b.slots[slot].in_flight += 1


cdef void add_failure(EndpointState* state, const Backend* backend, i64 rtt_ns, i64 now_ns) noexcept nogil:
    cdef f64 decay = <f64>backend.ewma_decay_ns
    cdef f64 rtt = <f64>rtt_ns
    cdef f64 slow = 2.0 * ewma_read(&state.ewma, now_ns, decay)
    if slow < <f64>backend.ewma_default_ns:
        slow = <f64>backend.ewma_default_ns
    if slow > <f64>SLOW_FACTOR * <f64>backend.ewma_default_ns:
        slow = <f64>SLOW_FACTOR * <f64>backend.ewma_default_ns
    ewma_add(&state.ewma, slow if slow > rtt else rtt, now_ns, decay)
    state.measured = 1


cdef void balancer_end(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen, i64 rtt_ns, bint ok,
                       i64 now_ns) noexcept nogil:
    cdef EndpointState* state = state_live(b, slot, slot_gen)
    cdef const Backend* which = &s.backends[backend]
    if state == NULL:
        return
    if state.in_flight > 0:
        state.in_flight -= 1
    if not ok:
        add_failure(state, which, rtt_ns, now_ns)
        return
    if rtt_ns < 0:
        return
    if state.health == ENDPOINT_PROBING:
        make_ready(state, now_ns)
    if state.measured:
        ewma_add(&state.ewma, <f64>rtt_ns, now_ns, <f64>which.ewma_decay_ns)
    else:
        ewma_init(&state.ewma, <f64>rtt_ns, now_ns)
        state.measured = 1


cdef void balancer_connected(BalancerState* b, u32 slot, u32 slot_gen, i64 now_ns) noexcept nogil:
    cdef EndpointState* state = state_live(b, slot, slot_gen)
    if state != NULL and state.health != ENDPOINT_READY:
        make_ready(state, now_ns)


cdef void balancer_connect_failed(BalancerState* b, const Snapshot* s, u32 backend, u32 slot, u32 slot_gen,
                                  i64 now_ns) noexcept nogil:
    cdef EndpointState* state = state_live(b, slot, slot_gen)
    if state == NULL or state.health == ENDPOINT_OUT:
        return
    if state.failures < 0xFFFF:
        state.failures += 1
    state.health = ENDPOINT_OUT
    state.retry_ns = now_ns + backoff_ns(b, &s.backends[backend], state.failures)


cdef void make_fresh(EndpointState* state, const Endpoint* e, const Backend* backend, i64 born_ns, i64 now_ns) noexcept nogil:
    memset(state, 0, sizeof(EndpointState))
    state.slot_gen = e.slot_gen
    state.born_ns = born_ns
    state.idle_head = <u32>0xFFFFFFFF
    ewma_init(&state.ewma, <f64>backend.ewma_default_ns, now_ns)


cdef void adopt_backend(BalancerState* b, const Snapshot* s, const Backend* backend, i64 now_ns) noexcept nogil:
    cdef const Endpoint* e
    cdef EndpointState* state
    cdef i64 born_ns = now_ns - (backend.ramp_ns if backend.ramp_ns > 0 else 0)
    cdef u32 i
    for i in range(backend.endpoint_count):
        e = &s.endpoints[backend.endpoint_first + i]
        if state_live(b, e.slot, e.slot_gen) != NULL:
            born_ns = now_ns
    for i in range(backend.endpoint_count):
        e = &s.endpoints[backend.endpoint_first + i]
        state = state_of(b, e)
        if state != NULL and state.slot_gen != e.slot_gen:
            make_fresh(state, e, backend, born_ns, now_ns)


cdef void balancer_adopt(BalancerState* b, const Snapshot* s, i64 now_ns) noexcept nogil:
    cdef const Weights* weights = <const Weights*>s.picks
    cdef u64 total
    cdef u32 i
    if b.rng == 0:
        b.rng = <u64>0x9E3779B97F4A7C15
    for i in range(s.backend_count):
        adopt_backend(b, s, &s.backends[i], now_ns)
        total = weights.tables[i].total
        if i < b.cursor_capacity and total > 0:
            b.cursors[i] = rng_next(b) % total


cdef int balancer_build(Snapshot* s) noexcept nogil:
    s.picks = weights_new(s)
    return FULL if s.picks == NULL else OK


cdef void balancer_free(Snapshot* s) noexcept nogil:
    weights_free(<Weights*>s.picks)
    s.picks = NULL
