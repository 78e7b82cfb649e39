"""Ed25519 for tests through libsodium, which Myelin needs anyway: the standard library has none.

`SigningKey` has the few members of PyNaCl's class that peer.py uses, so either does.
"""

import ctypes
import ctypes.util

_sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
if _sodium.sodium_init() < 0:
    raise ImportError("libsodium does not start")


class Signed:
    def __init__(self, signature):
        self.signature = signature


class SigningKey:
    def __init__(self, seed):
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        _sodium.crypto_sign_seed_keypair(public, secret, seed)
        self.verify_key, self._secret = public.raw, secret.raw

    @classmethod
    def generate(cls):
        seed = ctypes.create_string_buffer(32)
        _sodium.randombytes_buf(seed, ctypes.c_size_t(32))
        return cls(seed.raw)

    def sign(self, message):
        signature = ctypes.create_string_buffer(64)
        _sodium.crypto_sign_detached(signature, None, message, ctypes.c_ulonglong(len(message)), self._secret)
        return Signed(signature.raw)


def verifies(public_key, signature, message):
    """Whether 64 bytes of signature are this key's for the message."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    return _sodium.crypto_sign_verify_detached(signature, message, ctypes.c_ulonglong(len(message)), public_key) == 0
