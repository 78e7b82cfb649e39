/* Public keys of some users, with all signatures that the viewer may see: what /keys/query and its relatives answer from. */
#ifndef MYELIN_ACCOUNTS_KEY_SET_H
#define MYELIN_ACCOUNTS_KEY_SET_H

#include "lib/kit/call.h"

struct key_set;

/* In one trip. viewer: whose own signatures on others are shown to him; absent: another server, which sees the owners' only. */
enum fault key_set_load(struct call *call, struct slices user_ids, struct slice viewer, struct key_set **out);
/* Replaces what is known of a remote user by his server's answer; any of them may be NULL. */
void key_set_put(struct key_set *set, struct slice user_id, const struct json *devices, const struct json *master,
                 const struct json *self_signing);
/* JSON objects; absent when there is none. usage: "master", "self_signing", "user_signing" */
struct slice key_set_device(struct key_set *set, struct slice user_id, struct slice device_id);
struct slice key_set_cross_signing(struct key_set *set, struct slice user_id, const char *usage);
/* {device id: keys, …}. wanted: a list of device ids; NULL or empty: all. */
void key_set_write_devices(struct key_set *set, struct json_writer *w, struct slice user_id, const struct json *wanted);
/* For walking: the user's devices with keys, in order. NULL past the last. */
struct key_device {
    struct slice device_id, keys, display_name;
    struct key_device *next;
};
const struct key_device *key_set_devices(struct key_set *set, struct slice user_id);

#endif
