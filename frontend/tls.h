/* Certificates for the TLS listeners. */
#ifndef MYELIN_FRONTEND_TLS_H
#define MYELIN_FRONTEND_TLS_H

#include "lib/kit/settings.h"

#include <openssl/ssl.h>

/* From tls_certificate and tls_key, or data/tls.crt and data/tls.key. NULL when they cannot be used (logged). The caller owns one
 * reference; connections keep their own, so an old context may be dropped while it is in use. */
SSL_CTX *tls_create(const struct settings *settings);

#endif
