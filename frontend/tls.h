/* Certificates for the TLS listeners. */
#ifndef MYELIN_FRONTEND_TLS_H
#define MYELIN_FRONTEND_TLS_H

#include "lib/kit/settings.h"

#include <openssl/ssl.h>

/* From tls_certificate and tls_key, or data/tls/server.crt and data/tls/server.key. NULL when they cannot be used (logged). The
 * caller owns one reference; connections keep their own from the first word of their client on. */
SSL_CTX *tls_create(const struct settings *settings);

#endif
