/* The one place where signatures are checked. libsodium rejects keys of small order and non-canonical signatures. */
#include "lib/matrix/ed25519.h"

#include <sodium.h>

bool ed25519_verify(struct slice public_key, struct slice signature, struct slice message)
{
    if (public_key.len != crypto_sign_PUBLICKEYBYTES || signature.len != crypto_sign_BYTES)
        return false;
    return crypto_sign_verify_detached((const unsigned char *)signature.at, (const unsigned char *)message.at, message.len,
                                       (const unsigned char *)public_key.at) == 0;
}
