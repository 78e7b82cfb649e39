/* Checking Ed25519 signatures. Making them is the signing worker's job alone: only it holds private keys. Pure; any thread. */
#ifndef MYELIN_MATRIX_ED25519_H
#define MYELIN_MATRIX_ED25519_H

#include "lib/base/slice.h"

/* public_key: 32 bytes, signature: 64 bytes, both already decoded; other lengths are simply not valid. */
bool ed25519_verify(struct slice public_key, struct slice signature, struct slice message);

#endif
