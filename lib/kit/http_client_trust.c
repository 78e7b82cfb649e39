/* One store of trusted certificates for all connections. libcurl would parse the system's 144 authorities for each of them (17 ms);
 * with a shared store a handshake costs 0.7 ms (facts/STACK.md §6). It is about a megabyte, so it is loaded with the first request
 * and let go when the client rests. */
#include "lib/kit/http_client_internal.h"

#include "lib/base/ensure.h"
#include "lib/base/log.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

static const char *system_file(void)
{
    const char *const candidates[] = {getenv("SSL_CERT_FILE"), X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt",
                                      "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        if (candidates[i] && access(candidates[i], R_OK) == 0)
            return candidates[i];
    }
    return NULL;
}

static void add_file(X509_STORE *store, const char *file)
{
    if (X509_STORE_load_file(store, file) == 1)
        return;
    log_event(LOG_ERROR, "cannot read certificates of authorities", LOG_CSTR("file", file),
              LOG_CSTR("why", ERR_reason_error_string(ERR_peek_last_error())));
    ERR_clear_error();
}

X509_STORE *trust_load(const char *ca_file)
{
    X509_STORE *store = X509_STORE_new();
    ensure(store);
    const char *system = system_file();
    if (system)
        add_file(store, system);
    else
        log_event(LOG_WARN, "this system has no certificates of authorities: install ca-certificates");
    if (*ca_file)
        add_file(store, ca_file);
    X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}
