/* What may stand in a profile (Client-Server API "Profiles"). Pure. */
#ifndef MYELIN_ACCOUNTS_PROFILE_FIELDS_H
#define MYELIN_ACCOUNTS_PROFILE_FIELDS_H

#include "lib/base/json.h"

enum { PROFILE_BYTES_MAX = 65536, FIELD_NAME_BYTES_MAX = 255, DISPLAYNAME_BYTES_MAX = 1024, AVATAR_URL_BYTES_MAX = 1024 };

bool profile_field_is_valid(struct slice name);    /* displayname, avatar_url, or a namespaced one: m.tz, org.example.x */
bool displayname_is_acceptable(struct slice name); /* absent is fine */
/* NULL: fine; else what is wrong with the value. */
const char *profile_value_problem(struct slice name, const struct json *value);
/* Rooms show it: a change goes to the user's member events. */
bool profile_field_is_in_rooms(struct slice name);

#endif
