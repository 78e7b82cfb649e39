/* TLS 1.2 and newer; HTTP/2 or 1.1 by ALPN. Sessions are resumed by tickets alone: no cache to grow. */
#include "frontend/tls.h"

#include "frontend/front.h"
#include "lib/base/log.h"

#include <openssl/err.h>
#include <stdio.h>

static bool refuse(SSL_CTX *context, const char *what, const char *file)
{
    char error[256] = "";
    ERR_error_string_n(ERR_peek_last_error(), error, sizeof error);
    log_event(LOG_ERROR, what, LOG_CSTR("file", file), LOG_CSTR("error", error));
    ERR_clear_error();
    SSL_CTX_free(context);
    return false;
}

static void path_of(const struct settings *settings, const char *given, const char *name, char out[4096])
{
    if (given[0])
        snprintf(out, 4096, "%s", given);
    else
        snprintf(out, 4096, "%s/%s", settings->data_folder ? settings->data_folder : ".", name);
}

static bool load(SSL_CTX *context, const char *certificate, const char *key)
{
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return refuse(context, "the TLS certificate cannot be used", certificate);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1)
        return refuse(context, "the TLS key cannot be used", key);
    return true;
}

SSL_CTX *tls_create(const struct settings *settings)
{
    char certificate[4096], key[4096];
    path_of(settings, settings->tls_certificate, "tls/server.crt", certificate);
    path_of(settings, settings->tls_key, "tls/server.key", key);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context || !load(context, certificate, key))
        return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* an idle connection keeps no record buffers */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"myelin", 6);
    h2o_ssl_register_alpn_protocols(context, h2o_alpn_protocols);
    return context;
}
