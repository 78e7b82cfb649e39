/* One request as libcurl wants it. The URL carries the certificate's name and the real port, so that SNI, verification and the pool
 * of connections go by them; where to connect is said by CURLOPT_RESOLVE, and the Host header is ours. */
#include "lib/kit/http_client_internal.h"

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/kit/address.h"
#include "lib/kit/http_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECT_TIMEOUT_MS = 10000,
    HEADERS_MAX_BYTES = 64 * 1024,
    FIRST_BODY_BYTES = 4096,
    IDLE_CONNECTION_S = 60,
    CONNECTION_LIFETIME_S = 900, /* then DNS and certificate are looked at again */
};

/* ---- called by curl, on the engine's thread */

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t more = size * count;
    if (more > transfer->size_max - transfer->body_len) {
        transfer->is_too_large = true;
        return 0;
    }
    if (transfer->body_len + more > transfer->body_capacity) {
        size_t capacity = transfer->body_capacity ? 2 * transfer->body_capacity : FIRST_BODY_BYTES;
        while (capacity < transfer->body_len + more)
            capacity *= 2;
        transfer->body = realloc(transfer->body, capacity);
        ensure(transfer->body);
        transfer->body_capacity = capacity;
    }
    if (more)
        memcpy(transfer->body + transfer->body_len, bytes, more);
    transfer->body_len += more;
    return more;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    transfer->header_bytes += size * count;
    if (transfer->header_bytes <= HEADERS_MAX_BYTES)
        return size * count;
    transfer->is_too_large = true;
    return 0;
}

/* The guard: it sees the address that is really connected to, whatever names and redirects led here. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = context;
    if (!transfer->client->allow_private && address_socket_is_private(&address->addr)) {
        transfer->is_blocked = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static CURLcode on_tls_context(CURL *easy, void *tls, void *context)
{
    struct transfer *transfer = context;
    SSL_CTX_set1_cert_store(tls, engine_trust(transfer->client->engine));
    return CURLE_OK;
}

/* ---- making */

static void transfer_release(void *object)
{
    struct transfer *transfer = object;
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->resolve);
    curl_slist_free_all(transfer->connect_to);
    free(transfer->body);
    pthread_mutex_destroy(&transfer->lock);
    pthread_cond_destroy(&transfer->done);
}

/* Nothing that could end a header or a request line. */
static bool is_header_safe(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return false;
    }
    return true;
}

static bool is_name_safe(struct slice name)
{
    if (address_is_numeric(name))
        return true;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-' && c != '.' && c != '_')
            return false;
    }
    return name.len > 0 && name.len <= 255;
}

static bool are_addresses(struct slice list)
{
    struct slice address, rest = list;
    while (slice_cut(rest, ',', &address, &rest)) {
        if (!address_is_numeric(address))
            return false;
    }
    return address_is_numeric(rest);
}

static const char *refusal(const struct http_fetch *request)
{
    if (!is_name_safe(request->certificate_name))
        return "the host is neither a name nor an address";
    if (!slice_is_absent(request->address) && !are_addresses(request->address))
        return "the address is not numeric";
    if (request->port < 1 || request->port > 65535)
        return "there is no such port";
    if (!slice_starts_with(request->uri, SLICE("/")) || memchr(request->uri.at, ' ', request->uri.len) ||
        !is_header_safe(request->uri))
        return "the path is not valid";
    if (!is_header_safe(request->method) || !is_header_safe(request->host_header) || !is_header_safe(request->authorization) ||
        !is_header_safe(request->content_type))
        return "a header is not valid";
    return NULL;
}

static void add_header(struct transfer *transfer, struct arena *arena, const char *name, struct slice value)
{
    if (slice_is_absent(value))
        return;
    transfer->headers = curl_slist_append(transfer->headers, arena_printf(arena, "%s: %.*s", name, PRI(value)).at);
    ensure(transfer->headers);
}

#define SET(option, value) ensure(curl_easy_setopt(transfer->easy, CURLOPT_##option, value) == CURLE_OK)

static void set_target(struct transfer *transfer, struct arena *arena, const struct http_fetch *request)
{
    struct slice name = request->certificate_name;
    SET(URL, http_url_write(arena, name, request->port, request->uri).at);
    SET(PATH_AS_IS, 1L);
    if (slice_is_absent(request->address) || slice_eq(request->address, name))
        return;
    if (address_is_numeric(name)) { /* curl resolves no literals: say where the connection goes */
        struct slice first = request->address, ignored;
        slice_cut(request->address, ',', &first, &ignored);
        bool is_v6 = memchr(first.at, ':', first.len);
        struct slice to = arena_printf(arena, is_v6 ? "::[%.*s]:%d" : "::%.*s:%d", PRI(first), request->port);
        transfer->connect_to = curl_slist_append(NULL, to.at);
        SET(CONNECT_TO, transfer->connect_to);
        return;
    }
    /* "+": forgotten after a while like any DNS answer */
    transfer->resolve =
        curl_slist_append(NULL, arena_printf(arena, "+%.*s:%d:%.*s", PRI(name), request->port, PRI(request->address)).at);
    SET(RESOLVE, transfer->resolve);
}

static void set_message(struct transfer *transfer, struct arena *arena, const struct http_fetch *request)
{
    bool has_body = !slice_is_absent(request->body), is_get = slice_eq(request->method, SLICE("GET"));
    if (has_body || !is_get) {
        SET(POST, 1L);
        SET(POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(POSTFIELDS, has_body ? request->body.at : "");
    }
    if (slice_eq(request->method, SLICE("HEAD")))
        SET(NOBODY, 1L);
    else
        SET(CUSTOMREQUEST, arena_cstr(arena, request->method));
    add_header(transfer, arena, "Host", request->host_header);
    add_header(transfer, arena, "Authorization", request->authorization);
    if (has_body)
        add_header(transfer, arena, "Content-Type", request->content_type);
    else
        transfer->headers = curl_slist_append(transfer->headers, "Content-Type:"); /* curl would make one up */
    transfer->headers = curl_slist_append(transfer->headers, "Expect:");
    SET(HTTPHEADER, transfer->headers);
    SET(USERAGENT, "Myelin/" MYELIN_VERSION);
}

static void set_policy(struct transfer *transfer, int64_t timeout_ms)
{
    SET(NOSIGNAL, 1L);
    SET(PROXY, "");
    SET(FOLLOWLOCATION, 0L);
    SET(PROTOCOLS_STR, "https");
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(PIPEWAIT, 1L);
    SET(TCP_NODELAY, 1L);
    SET(TIMEOUT_MS, (long)timeout_ms);
    SET(CONNECTTIMEOUT_MS, (long)(timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS));
    SET(MAXAGE_CONN, (long)IDLE_CONNECTION_S);
    SET(MAXLIFETIME_CONN, (long)CONNECTION_LIFETIME_S);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CAINFO, NULL);
    SET(CAPATH, NULL);
    SET(SSL_VERIFYPEER, transfer->client->verify ? 1L : 0L);
    SET(SSL_VERIFYHOST, transfer->client->verify ? 2L : 0L);
    SET(SSL_CTX_FUNCTION, on_tls_context);
    SET(SSL_CTX_DATA, transfer);
    SET(OPENSOCKETFUNCTION, on_open_socket);
    SET(OPENSOCKETDATA, transfer);
    SET(WRITEFUNCTION, on_body);
    SET(WRITEDATA, transfer);
    SET(HEADERFUNCTION, on_header);
    SET(HEADERDATA, transfer);
    SET(ERRORBUFFER, transfer->error);
    SET(PRIVATE, transfer);
}

struct transfer *transfer_create(struct http_client *client, struct arena *arena, const struct http_fetch *request,
                                 const char **error)
{
    int64_t timeout_ms = request->deadline_ms - clock_monotonic_ms();
    if ((*error = refusal(request)))
        return NULL;
    struct transfer *transfer = arena_new(arena, struct transfer);
    transfer->client = client;
    transfer->size_max = request->size_max > 0 ? (size_t)request->size_max : 0;
    pthread_mutex_init(&transfer->lock, NULL);
    pthread_cond_init(&transfer->done, NULL);
    arena_defer(arena, transfer_release, transfer);
    transfer->easy = curl_easy_init();
    ensure(transfer->easy);
    set_target(transfer, arena, request);
    set_message(transfer, arena, request);
    set_policy(transfer, timeout_ms > 1 ? timeout_ms : 1);
    return transfer;
}

/* ---- reading the answer */

/* All headers of the name, as one list. */
static struct slice header(struct transfer *transfer, struct arena *arena, const char *name)
{
    struct slice joined = SLICE_ABSENT;
    struct curl_header *found;
    for (size_t i = 0; curl_easy_header(transfer->easy, name, i, CURLH_HEADER, -1, &found) == CURLHE_OK; i++)
        joined =
            i == 0 ? arena_copy(arena, slice_from_cstr(found->value)) : arena_printf(arena, "%.*s, %s", PRI(joined), found->value);
    return joined;
}

static struct slice header_first(struct transfer *transfer, struct arena *arena, const char *name)
{
    struct curl_header *found;
    if (curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
        return SLICE_ABSENT;
    return arena_copy(arena, slice_from_cstr(found->value));
}

static enum fault failure(const struct transfer *transfer, int64_t deadline_ms, struct http_answer *answer)
{
    answer->error = transfer->error[0] ? transfer->error : curl_easy_strerror(transfer->result);
    if (transfer->is_too_large) {
        answer->error = "the answer is too large";
        return FAULT_TOO_LARGE;
    }
    if (transfer->is_blocked) {
        answer->blocked = true;
        answer->error = "the address is private";
        return FAULT_PEER;
    }
    return transfer->result == CURLE_OPERATION_TIMEDOUT && clock_monotonic_ms() >= deadline_ms - 1 ? FAULT_DEADLINE : FAULT_PEER;
}

enum fault transfer_answer(struct transfer *transfer, struct arena *arena, int64_t deadline_ms, struct http_answer *answer)
{
    long status = 0;
    *answer = (struct http_answer){.status = 0};
    if (transfer->result != CURLE_OK)
        return failure(transfer, deadline_ms, answer);
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
    answer->body = slice_of(transfer->body ? transfer->body : "", transfer->body_len);
    answer->content_type = header_first(transfer, arena, "content-type");
    answer->cache_control = header(transfer, arena, "cache-control");
    answer->expires = header_first(transfer, arena, "expires");
    answer->location = header_first(transfer, arena, "location");
    /* The handle's buffers are not needed any more; the body lives as long as the arena. */
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
    return FAULT_OK;
}
