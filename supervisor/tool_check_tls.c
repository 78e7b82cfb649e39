/* Part of `myelin check`: the certificate, its key, its names and its end. */
#include "supervisor/tool_check.h"

#include "lib/matrix/ids.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static X509 *read_certificate(const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *made = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (file)
        fclose(file);
    return made;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *file = fopen(path, "re");
    EVP_PKEY *made = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
    if (file)
        fclose(file);
    return made;
}

static void check_names(struct arena *arena, X509 *certificate, const struct settings *settings)
{
    struct server_name name;
    if (!server_name_parse(slice_from_cstr(settings->server_name), &name))
        return;
    const char *host = arena_cstr(arena, name.host);
    bool matches = name.is_ipv4 || name.is_ipv6 ? X509_check_ip_asc(certificate, host, 0) == 1
                                                : X509_check_host(certificate, host, name.host.len, 0, NULL) == 1;
    if (matches)
        check_good("TLS: the certificate is for %s", host);
    else
        check_note("TLS: the certificate is not for %s; servers that reach us by that name will refuse it (with delegation by "
                   "well-known, it must be for the host named there)",
                   host);
}

static void check_time(X509 *certificate)
{
    int days, seconds;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)))
        return;
    if (days < 0 || seconds < 0)
        check_bad("TLS: the certificate has expired");
    else if (days < 14)
        check_note("TLS: the certificate ends in %d days", days);
    else
        check_good("TLS: the certificate is good for %d days", days);
    if (X509_cmp_time(X509_get0_notBefore(certificate), NULL) > 0)
        check_bad("TLS: the certificate is not valid yet");
}

void check_certificate(struct arena *arena, const struct settings *settings)
{
    const char *certificate_file = settings->tls_certificate, *key_file = settings->tls_key;
    if (!certificate_file[0])
        certificate_file = arena_printf(arena, "%s/tls/server.crt", settings->data_folder).at;
    if (!key_file[0])
        key_file = arena_printf(arena, "%s/tls/server.key", settings->data_folder).at;
    X509 *certificate = read_certificate(certificate_file);
    EVP_PKEY *key = read_key(key_file);
    if (!certificate && !settings->tls_certificate[0] && errno == ENOENT)
        check_note("TLS: a self-signed certificate will be made at the first start");
    else if (!certificate)
        check_bad("TLS: %s holds no certificate in PEM form that we can read", certificate_file);
    else if (!key)
        check_bad("TLS: %s holds no private key in PEM form that we can read", key_file);
    else if (X509_check_private_key(certificate, key) != 1)
        check_bad("TLS: %s is not the key of %s", key_file, certificate_file);
    if (certificate) {
        check_names(arena, certificate, settings);
        check_time(certificate);
        if (X509_check_issued(certificate, certificate) == X509_V_OK)
            check_note("TLS: the certificate is self-signed; other servers refuse it unless they trust it by federation_ca_file");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}
