/**
 * UUIDs (RFC 9562) and the ids that follow from natural keys. Ids from natural keys make uniqueness local to one
 * partition: two requests for the same SKU or e-mail meet in one place, live and in a replay.
 */
#ifndef TILLWIRE_UUID_H
#define TILLWIRE_UUID_H

#include "tillwire/str.h"

struct tw_uuid {
    uint8_t bytes[16];
};

enum { TW_UUID_TEXT = 36 }; /**< length of the text form, without NUL */

extern const struct tw_uuid tw_uuid_nil;

bool tw_uuid_eq(struct tw_uuid a, struct tw_uuid b);
bool tw_uuid_is_nil(struct tw_uuid id);
int  tw_uuid_cmp(struct tw_uuid a, struct tw_uuid b);
/** Writes the 36 lower-case characters and a NUL. */
void tw_uuid_format(struct tw_uuid id, char ret_text[TW_UUID_TEXT + 1]);
/** Reads exactly the 36-character form, either case; false for anything else. */
bool tw_uuid_parse(struct tw_str text, struct tw_uuid *ret_id);

enum tw_domain_number { TW_DOMAIN_MEMBER = 1, TW_DOMAIN_PRODUCT = 2, TW_DOMAIN_CART = 3 };

/**
 * Command ids carry their domain (2 bits) and partition (10 bits) in the 12 bits behind the version (`rand_a` of
 * UUIDv7), so that any edge knows where to look. Version 7: a request without Idempotency-Key, its time in front.
 * Version 8: derived from caller, method, path and key. What a policy writes is version 8 too, or, when the ledger shall
 * not remember it (quiet commands), version 7 with the rest from a digest.
 */
struct tw_uuid        tw_command_id_new(int64_t now_ms, enum tw_domain_number domain, int32_t partition);
struct tw_uuid        tw_command_id_keyed(const uint8_t digest[16], enum tw_domain_number domain, int32_t partition);
struct tw_uuid        tw_command_id_unkeyed(const uint8_t digest[16], int64_t time_ms, enum tw_domain_number domain,
                                            int32_t partition);
bool                  tw_command_id_is_keyed(struct tw_uuid id);
/** 0 when the bits name no domain. */
enum tw_domain_number tw_command_id_domain(struct tw_uuid id);
int32_t               tw_command_id_partition(struct tw_uuid id);
/** Milliseconds since 1970 in a version 7 id; -1 in a keyed one. */
int64_t               tw_command_id_time_ms(struct tw_uuid id);
/** The ledger's key: the partition bits zeroed, so that a look-up finds it wherever the same key went first. */
struct tw_uuid        tw_command_id_ledger(struct tw_uuid id);

/** Ids of new things derive from the command that makes them and the aggregate they belong to: UUIDv8 of
 *  SHA-256("tillwire/derived/v1" tag command-id owner). The owner is in it because nothing keeps a writer from using one
 *  command id for two aggregates, and their things must not meet in one table. */
struct tw_uuid tw_derived_id(struct tw_uuid command_id, struct tw_uuid owner, const char *tag);

/** 12 bytes of a MongoDB ObjectId: the first 12 of SHA-256("tillwire/product/v1" NUL sku). */
void           tw_product_object_id(struct tw_str sku, uint8_t ret_object_id[12]);
/** The public id: UUIDv8 that carries those 12 bytes; mapped back without a look-up. */
struct tw_uuid tw_product_id(const uint8_t object_id[12]);
struct tw_uuid tw_product_id_of_sku(struct tw_str sku);
/** False when @p id is not the image of an ObjectId. */
bool           tw_product_id_to_object_id(struct tw_uuid id, uint8_t ret_object_id[12]);

enum { TW_ID_KEY_BYTES = 32 };
/** UUIDv8 of HMAC-SHA-256(id key, "tillwire/member/v1" NUL folded e-mail); see tillwire/email.h for folding. */
struct tw_uuid tw_member_id(const uint8_t id_key[TW_ID_KEY_BYTES], struct tw_str folded_email);
/** 16 hex digits that tell two id keys apart without giving them away; pinned beside the data. */
void           tw_id_key_check(const uint8_t id_key[TW_ID_KEY_BYTES], char ret_hex[17]);

#endif
