/* The HTTP client against a small TLS server of this program: pooled connections, names, sizes, redirects, deadlines, the guard,
 * many threads. Discovery's worker test covers it again with servers that are not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/ensure.h"
#include "lib/base/log.h"
#include "lib/base/strbuf.h"
#include "lib/kit/http_client.h"
#include "lib/kit/http_url.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { ARENA_BYTES = 64 * 1024 * 1024, REQUEST_MAX = 256 * 1024 };

/* ---- the server: HTTP/1.1; the path says what to do */

static SSL_CTX *server_tls;
static int listener, port;
static char large[100000];
static atomic_int connections;
static char ca_file[] = "/tmp/test_http_ca_XXXXXX";

static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:a.example,DNS:b.example,IP:127.0.0.1");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    ensure(X509_sign(certificate, key, EVP_sha256()) > 0);
    server_tls = SSL_CTX_new(TLS_server_method());
    ensure(SSL_CTX_use_certificate(server_tls, certificate) == 1 && SSL_CTX_use_PrivateKey(server_tls, key) == 1);
    int file = mkstemp(ca_file);
    FILE *out = fdopen(file, "w");
    ensure(out && PEM_write_X509(out, certificate) == 1 && fclose(out) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* One whole request: head in text, body length from Content-Length. False: the client is gone. */
static bool read_request(SSL *tls, char *text, struct slice *body)
{
    int len = 0, got;
    char *end = NULL;
    while (!end) {
        if (len >= REQUEST_MAX - 1 || (got = SSL_read(tls, text + len, REQUEST_MAX - 1 - len)) <= 0)
            return false;
        len += got;
        text[len] = '\0';
        end = strstr(text, "\r\n\r\n");
    }
    const char *length = strcasestr(text, "content-length:");
    int wanted = length ? atoi(length + 15) : 0, have = len - (int)(end + 4 - text);
    while (have < wanted) {
        if ((got = SSL_read(tls, text + len, REQUEST_MAX - 1 - len)) <= 0)
            return false;
        len += got;
        have += got;
    }
    *body = slice_of(end + 4, (size_t)wanted);
    end[2] = '\0';
    return true;
}

static void respond(SSL *tls, const char *status, const char *headers, struct slice body)
{
    struct arena *arena = arena_create(ARENA_BYTES);
    struct slice all =
        arena_printf(arena, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%.*s", status, body.len, headers, PRI(body));
    SSL_write(tls, all.at, (int)all.len);
    arena_destroy(&arena);
}

static void answer_one(SSL *tls, const char *request, struct slice body)
{
    char path[200] = "", headers[300];
    int number = 0;
    sscanf(request, "%*s %199s", path);
    if (sscanf(path, "/size/%d", &number) == 1)
        respond(tls, "200 OK", "", slice_of(large, (size_t)number));
    else if (sscanf(path, "/hop/%d", &number) == 1 && number > 0) {
        snprintf(headers, sizeof headers, "Location: /hop/%d\r\n", number - 1);
        respond(tls, "302 Found", headers, SLICE(""));
    } else if (strcmp(path, "/keep") == 0)
        respond(tls, "307 Temporary Redirect", "Location: /echo\r\n", SLICE(""));
    else if (strcmp(path, "/see") == 0)
        respond(tls, "303 See Other", "Location: /echo\r\n", SLICE(""));
    else if (strcmp(path, "/away") == 0)
        respond(tls, "302 Found", "Location: https://other.invalid/\r\n", SLICE(""));
    else if (strcmp(path, "/plain") == 0)
        respond(tls, "302 Found", "Location: http://a.example/\r\n", SLICE(""));
    else if (strcmp(path, "/headers") == 0)
        respond(tls, "404 Not Found",
                "Cache-Control: public\r\nCache-Control: max-age=5\r\nExpires: never\r\nContent-Type: text/x\r\n", SLICE("no"));
    else if (strcmp(path, "/never") == 0)
        return; /* no answer: the client goes away some time, and the next read tells */
    else {      /* what came: the head, then the body */
        struct arena *arena = arena_create(ARENA_BYTES);
        respond(tls, "200 OK", "", arena_printf(arena, "%s|%.*s", request, PRI(body)));
        arena_destroy(&arena);
    }
}

/* Detached threads that still hold what OpenSSL gave them: the end waits for them, or the leak checker finds it. */
static atomic_int serving;

static void *serve(void *context)
{
    int descriptor = (int)(intptr_t)context;
    char *text = malloc(REQUEST_MAX);
    struct slice body;
    SSL *tls = SSL_new(server_tls);
    SSL_set_fd(tls, descriptor);
    if (SSL_accept(tls) == 1) {
        connections++;
        while (read_request(tls, text, &body))
            answer_one(tls, text, body);
    }
    SSL_free(tls);
    close(descriptor);
    free(text);
    OPENSSL_thread_stop();
    serving--;
    return NULL;
}

static void *accept_all(void *context)
{
    for (;;) {
        pthread_t thread;
        int descriptor = accept(listener, NULL, NULL);
        if (descriptor < 0)
            return NULL;
        serving++;
        pthread_create(&thread, NULL, serve, (void *)(intptr_t)descriptor);
        pthread_detach(thread);
    }
}

/* ---- the client's side */

static struct settings settings;
static struct http_client *client;
static struct arena *arena;

static int start(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    log_init("test", LOG_ERROR);
    memset(large, 'x', sizeof large);
    make_certificate();
    listener = socket(AF_INET, SOCK_STREAM, 0);
    ensure(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 100) == 0);
    ensure(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    port = ntohs(address.sin_port);
    ensure(pthread_create(&thread, NULL, accept_all, NULL) == 0 && pthread_detach(thread) == 0);
    return 0;
}

static int setup(void **state)
{
    settings = (struct settings){.federation_ca_file = ca_file, .federation_verify = true, .federation_allow_private = true};
    client = http_client_create(&settings);
    arena = arena_create(ARENA_BYTES);
    return 0;
}

static int teardown(void **state)
{
    arena_destroy(&arena);
    http_client_destroy(&client);
    return 0;
}

static struct http_fetch get(const char *uri)
{
    return (struct http_fetch){.method = SLICE("GET"),
                               .certificate_name = SLICE("a.example"),
                               .host_header = SLICE("the.host:99"),
                               .address = SLICE("127.0.0.1"),
                               .port = port,
                               .uri = slice_from_cstr(uri),
                               .deadline_ms = clock_monotonic_ms() + 10000,
                               .size_max = 50000};
}

static bool has(struct slice text, const char *part)
{
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

#define FETCH(request) http_fetch(client, arena, &(request), &answer)

static void test_get(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/a/../b?c=%2F");
    request.authorization = SLICE("X-Matrix origin=\"a\"");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_int_equal(answer.status, 200);
    assert_true(has(answer.body, "GET /a/../b?c=%2F HTTP/1.1\r\n"));
    assert_true(has(answer.body, "Host: the.host:99\r\n"));
    assert_true(has(answer.body, "Authorization: X-Matrix origin=\"a\"\r\n"));
    assert_true(has(answer.body, "User-Agent: Myelin/"));
    assert_false(has(answer.body, "Expect:"));
    assert_false(has(answer.body, "Content-Type:"));
}

static void test_put_and_post(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/echo");
    char *letters = arena_alloc_raw(arena, 40000);
    memset(letters, 'y', 40000);
    request.method = SLICE("PUT");
    request.content_type = SLICE("application/json");
    request.body = slice_of(letters, 40000);
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_true(has(answer.body, "PUT /echo HTTP/1.1\r\n") && has(answer.body, "Content-Type: application/json\r\n"));
    assert_true(slice_ends_with(answer.body, request.body));
    request.method = SLICE("POST");
    request.body = SLICE_ABSENT;
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_true(has(answer.body, "POST /echo HTTP/1.1\r\n") && has(answer.body, "Content-Length: 0\r\n"));
}

static void test_headers_of_the_answer(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/headers");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_int_equal(answer.status, 404);
    assert_true(slice_eq(answer.cache_control, SLICE("public, max-age=5")) && slice_eq(answer.expires, SLICE("never")));
    assert_true(slice_eq(answer.content_type, SLICE("text/x")) && slice_is_absent(answer.location) &&
                slice_eq(answer.body, SLICE("no")));
}

static void test_one_connection_for_many(void **state)
{
    struct http_answer answer;
    int before = connections;
    for (int i = 0; i < 50; i++) {
        struct http_fetch request = get("/");
        assert_int_equal(FETCH(request), FAULT_OK);
    }
    assert_int_equal(connections - before, 1);
}

static void test_sizes(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/size/50000");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_int_equal(answer.body.len, 50000);
    request = get("/size/50001");
    assert_int_equal(FETCH(request), FAULT_TOO_LARGE);
    request = get("/size/0");
    request.size_max = 0;
    assert_int_equal(FETCH(request), FAULT_OK);
    request = get("/size/1");
    request.size_max = 0;
    assert_int_equal(FETCH(request), FAULT_TOO_LARGE);
}

static void test_names(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/");
    request.certificate_name = SLICE("c.example");
    assert_int_equal(FETCH(request), FAULT_PEER);
    request.certificate_name = SLICE("b.example");
    assert_int_equal(FETCH(request), FAULT_OK);
    request.certificate_name = SLICE("127.0.0.1");
    assert_int_equal(FETCH(request), FAULT_OK);
    request.certificate_name = SLICE("127.0.0.2"); /* connects to 127.0.0.1 and finds no such name */
    assert_int_equal(FETCH(request), FAULT_PEER);
}

static void test_addresses_race(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/");
    request.address = SLICE("127.0.0.77,::1,127.0.0.1"); /* nobody listens on the first two */
    assert_int_equal(FETCH(request), FAULT_OK);
}

static void test_redirects(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/hop/3");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_int_equal(answer.status, 302);
    assert_true(slice_eq(answer.location, SLICE("/hop/2")));
    request.redirects_max = 3;
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_true(has(answer.body, "GET /hop/0 HTTP/1.1\r\n") && has(answer.body, "Host: the.host:99\r\n"));
    request.redirects_max = 2;
    assert_int_equal(FETCH(request), FAULT_PEER);
    request = get("/plain");
    request.redirects_max = 5;
    assert_int_equal(FETCH(request), FAULT_PEER);
    request = get("/away");
    request.redirects_max = 5;
    assert_int_equal(FETCH(request), FAULT_PEER);
}

static void test_redirects_of_posts(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/keep");
    request.redirects_max = 1;
    request.method = SLICE("POST");
    request.body = SLICE("payload");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_true(has(answer.body, "POST /echo") && slice_ends_with(answer.body, SLICE("|payload")));
    request.uri = SLICE("/see");
    assert_int_equal(FETCH(request), FAULT_OK);
    assert_true(has(answer.body, "GET /echo") && slice_ends_with(answer.body, SLICE("|")));
}

static void test_deadlines(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/never");
    request.deadline_ms = clock_monotonic_ms() + 200;
    assert_int_equal(FETCH(request), FAULT_DEADLINE);
    assert_true(clock_monotonic_ms() - request.deadline_ms >= -1);
    assert_int_equal(FETCH(request), FAULT_DEADLINE); /* nothing left: not even tried */
}

static void test_nobody_listens(void **state)
{
    struct http_answer answer;
    struct http_fetch request = get("/");
    request.address = SLICE("127.0.0.77");
    assert_int_equal(FETCH(request), FAULT_PEER);
    assert_non_null(answer.error);
    assert_false(answer.blocked);
}

static void test_what_cannot_be_asked(void **state)
{
    static const struct slice bad_hosts[] = {{"a b", 3}, {"", 0}, {"a@b", 3}, {"a/b", 3}, {"a\r\nb", 4}, {"[::1]", 5}};
    static const struct slice bad_uris[] = {{"", 0}, {"x", 1}, {"/a b", 4}, {"/\r\nX: y", 7}};
    struct http_answer answer;
    struct http_fetch request;
    for (size_t i = 0; i < sizeof bad_hosts / sizeof bad_hosts[0]; i++) {
        request = get("/");
        request.certificate_name = bad_hosts[i];
        assert_int_equal(FETCH(request), FAULT_PEER);
    }
    for (size_t i = 0; i < sizeof bad_uris / sizeof bad_uris[0]; i++) {
        request = get("/");
        request.uri = bad_uris[i];
        assert_int_equal(FETCH(request), FAULT_PEER);
    }
    request = get("/");
    request.authorization = SLICE("a\r\nX-Evil: b");
    assert_int_equal(FETCH(request), FAULT_PEER);
    request = get("/");
    request.address = SLICE("localhost");
    assert_int_equal(FETCH(request), FAULT_PEER);
    request = get("/");
    request.port = 0;
    assert_int_equal(FETCH(request), FAULT_PEER);
}

static void test_guard(void **state)
{
    struct http_answer answer;
    int before = connections;
    struct http_client *guarded;
    settings.federation_allow_private = false;
    guarded = http_client_create(&settings);
    struct http_fetch request = get("/");
    assert_int_equal(http_fetch(guarded, arena, &request, &answer), FAULT_PEER);
    assert_true(answer.blocked);
    request.certificate_name = SLICE("localhost"); /* a name that the system resolves to here */
    request.address = SLICE_ABSENT;
    assert_int_equal(http_fetch(guarded, arena, &request, &answer), FAULT_PEER);
    assert_true(answer.blocked);
    assert_int_equal(connections, before);
    http_client_destroy(&guarded);
}

static void test_unverified(void **state)
{
    struct http_answer answer;
    settings.federation_verify = false;
    struct http_client *careless = http_client_create(&settings);
    struct http_fetch request = get("/");
    request.certificate_name = SLICE("anything.example");
    assert_int_equal(http_fetch(careless, arena, &request, &answer), FAULT_OK);
    http_client_destroy(&careless);
}

static atomic_int good;

static void *fetch_many(void *context)
{
    struct arena *own = arena_create(ARENA_BYTES);
    struct http_answer answer;
    for (int i = 0; i < 25; i++) {
        struct http_fetch request = get("/size/3000");
        good += http_fetch(client, own, &request, &answer) == FAULT_OK && answer.body.len == 3000;
        arena_reset(own);
    }
    arena_destroy(&own);
    return NULL;
}

static void test_many_threads(void **state)
{
    pthread_t threads[16];
    good = 0;
    for (int i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fetch_many, NULL), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(good, 16 * 25);
}

static void test_urls(void **state)
{
    struct http_url url;
    const struct slice base = SLICE("https://a.example:8443/x/y?z");
    assert_true(http_url_parse(arena, SLICE_ABSENT, SLICE("https://B.example"), &url));
    assert_true(url.port == 443 && slice_eq(url.uri, SLICE("/")) && slice_eq_ignoring_case(url.host_header, SLICE("b.example")));
    assert_true(http_url_parse(arena, base, SLICE("../q?r=1#frag"), &url));
    assert_true(slice_eq(url.uri, SLICE("/q?r=1")) && url.port == 8443 && slice_eq(url.host_header, SLICE("a.example:8443")));
    assert_true(http_url_parse(arena, base, SLICE("//c.example/"), &url));
    assert_true(slice_eq(url.host, SLICE("c.example")) && url.port == 443);
    assert_true(http_url_parse(arena, base, SLICE("https://[::1]:9/"), &url));
    assert_true(slice_eq(url.host, SLICE("::1")) && slice_eq(url.host_header, SLICE("[::1]:9")) && url.port == 9);
    static const struct slice bad[] = {{"", 0},
                                       {"http://a/", 9},
                                       {"ftp://a/", 8},
                                       {"https://u@a/", 12},
                                       {"https://u:p@a/", 14},
                                       {"https://a b/", 12},
                                       {"https://a:0/", 12},
                                       {"https://a:70000/", 16},
                                       {"javascript:x", 12},
                                       {"/\r\n", 3}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (http_url_parse(arena, base, bad[i], &url))
            fail_msg("%.*s should be refused", PRI(bad[i]));
    }
}

static int finish(void **state)
{
    unlink(ca_file);
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; serving > 0 && i < 30000; i++)
        usleep(1000);
    return serving > 0; /* a thread that never ends is a failure of its own */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_get),
        TEST(test_put_and_post),
        TEST(test_headers_of_the_answer),
        TEST(test_one_connection_for_many),
        TEST(test_sizes),
        TEST(test_names),
        TEST(test_addresses_race),
        TEST(test_redirects),
        TEST(test_redirects_of_posts),
        TEST(test_deadlines),
        TEST(test_nobody_listens),
        TEST(test_what_cannot_be_asked),
        TEST(test_guard),
        TEST(test_unverified),
        TEST(test_many_threads),
        TEST(test_urls),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
