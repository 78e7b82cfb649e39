/* See certificate.h. */
#include "supervisor/certificate.h"

#include "lib/matrix/ids.h"
#include "supervisor/folder.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { YEARS = 10 };

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

static X509 *sign_certificate(struct arena *arena, EVP_PKEY *key, const struct server_name *name)
{
    X509 *made = X509_new();
    ASN1_INTEGER *serial = X509_get_serialNumber(made);
    BIGNUM *number = BN_new();
    bool done = made && number && BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) && BN_to_ASN1_INTEGER(number, serial);
    BN_free(number);
    const char *host = arena_cstr(arena, name->host), *type = name->is_ipv4 || name->is_ipv6 ? "IP" : "DNS";
    const char *names = arena_printf(arena, "%s:%s,DNS:localhost,IP:127.0.0.1,IP:::1", type, host).at;
    /* A common name holds 64 characters; what is checked is subjectAltName. */
    X509_NAME *subject = made ? X509_get_subject_name(made) : NULL;
    done = done && X509_set_version(made, X509_VERSION_3) && X509_gmtime_adj(X509_getm_notBefore(made), -3600) &&
           X509_time_adj_ex(X509_getm_notAfter(made), 365 * YEARS, 0, NULL) && X509_set_pubkey(made, key) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)host, name->host.len > 64 ? 64 : -1, -1,
                                      0) &&
           X509_set_issuer_name(made, subject) && add_extension(made, NID_subject_alt_name, names) &&
           add_extension(made, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(made, NID_ext_key_usage, "serverAuth,clientAuth") && X509_sign(made, key, EVP_sha256());
    if (done)
        return made;
    X509_free(made);
    return NULL;
}

static bool write_pem(struct arena *arena, const char *path, BIO *text, unsigned mode)
{
    char *bytes;
    long len = BIO_get_mem_data(text, &bytes);
    return folder_write_file(arena, path, slice_of(bytes, (size_t)len), mode);
}

bool certificate_make(struct arena *arena, struct slice server_name, const char *certificate_file, const char *key_file,
                      const char **error)
{
    struct server_name name;
    if (!server_name_parse(server_name, &name)) {
        *error = "the server name is not valid";
        return false;
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? sign_certificate(arena, key, &name) : NULL;
    BIO *key_text = BIO_new(BIO_s_mem()), *certificate_text = BIO_new(BIO_s_mem());
    bool done = certificate && PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) &&
                PEM_write_bio_X509(certificate_text, certificate);
    if (!done)
        *error = "OpenSSL refused";
    else if (!(done = write_pem(arena, key_file, key_text, 0600) && write_pem(arena, certificate_file, certificate_text, 0644)))
        *error = strerror(errno);
    BIO_free(key_text);
    BIO_free(certificate_text);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return done;
}
