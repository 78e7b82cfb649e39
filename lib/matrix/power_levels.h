/* The value of one power level, for the rules that compare levels; what callers outside the rules need is in auth_rules.h. */
#ifndef MYELIN_MATRIX_POWER_LEVELS_H
#define MYELIN_MATRIX_POWER_LEVELS_H

#include "lib/matrix/auth_rules.h"

/* An integer; before version 10 also a string that is one, before version 6 also a float, truncated. False and *out untouched
 * for anything else and for NULL. Levels beyond int64 (versions 1 to 5) are clamped, which keeps their order. */
bool power_level_value(const struct room_version *version, const struct json *value, int64_t *out);

#endif
