"""What each member command means. A rule is a method named after its command; a refusal changes nothing, but for a spent
refresh token, which ends its session."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import ids
from decisions import Command, Outcome, pending, rejected, succeeded

DAY_MS = 24 * 60 * 60 * 1000
LEEWAY_MS = 60_000
SESSIONS_MAX = 100
TOKENS_MAX = 400
ADDRESSES_MAX = 20
ME = "/v1/members/me"
ADDRESS_PARTS = ("label", "address_line1", "address_line2", "city", "province", "postal_code")

Row = dict[str, Any]
TAKEN = rejected(409, "email-taken")
NOT_FOUND = rejected(404, "not-found")
NOT_ACTIVE = rejected(409, "member-not-active")
STALE = rejected(409, "stale-credentials")
ID_USED = rejected(422, "idempotency-key-reused")
TOO_MANY_SESSIONS = rejected(422, "session-limit")
NO_GOOD = rejected(401, "unauthenticated")


def is_live(token: Row, clock_ms: int) -> bool:
    return not token["is_revoked"] and token["expires_at"] > clock_ms


def is_needed(token: Row, clock_ms: int) -> bool:
    """What an edge might take if it did not know better: refresh tokens are good by their row alone."""
    if token["kind"] == "refresh":
        return is_live(token, clock_ms)
    return token["expires_at"] + LEEWAY_MS > clock_ms


def is_revocable(token: Row, clock_ms: int) -> bool:
    return not token["is_revoked"] and is_needed(token, clock_ms)


def oldest_first(rows: dict[str, Row]) -> list[tuple[str, Row]]:
    return sorted(rows.items(), key=lambda pair: (pair[1]["created_at"], pair[0]))


class MemberRules:
    """The tables of PostgreSQL: members, claims of addresses and changes under way by id or member, addresses and tokens
    by member and then by id."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, Row] = {}
        self.addresses: dict[str, dict[str, Row]] = defaultdict(dict)
        self.tokens: dict[str, dict[str, Row]] = defaultdict(dict)
        self.claims: dict[str, Row] = {}
        self.email_changes: dict[str, Row] = {}

    # --- shared

    def _active(self, c: Command) -> Row | Outcome:
        member = self.members.get(c.body["member_id"])
        if not member:
            return NOT_FOUND
        return member if member["status"] == "ACTIVE" else NOT_ACTIVE

    def _with_credentials(self, c: Command) -> Row | Outcome:
        """ACTIVE, with a password, and nothing moved since the edge looked."""
        member = self._active(c)
        if isinstance(member, Outcome):
            return member
        moved = member["is_service"] or member["credential_version"] != c.body["credential_version"]
        return STALE if moved else member

    @staticmethod
    def _edit(member: Row, c: Command) -> None:
        member["version"] += 1
        member["updated_at"] = max(member["updated_at"], c.at_ms)

    @staticmethod
    def _tell(c: Command, what: str, member: Row, **more: Any) -> None:
        c.emit(f"member.{what}.v1", member_id=c.body["member_id"], **more, version=member["version"])

    # --- registering

    def _new_member(self, c: Command, event: str, resource: str) -> Outcome:
        member_id = c.body["member_id"]
        if member_id in self.members or member_id in self.claims:
            return TAKEN
        self.members[member_id] = {
            "email": c.body["email"],
            "email_folded": c.body["email_folded"],
            "password_hash": c.body.get("password_hash"),
            "full_name": c.body["full_name"],
            "phone_number": c.body.get("phone_number"),
            "status": "ACTIVE",
            "created_at": c.at_ms,
            "updated_at": c.at_ms,
            "last_login_at": None,
            "version": 1,
            "credential_version": 1,
            "is_service": "password_hash" not in c.body,
        }
        self._tell(c, event, self.members[member_id], status="ACTIVE")
        return succeeded(201, resource)

    def member_register(self, c: Command) -> Outcome:
        return self._new_member(c, "registered", ME)

    def member_register_service(self, c: Command) -> Outcome:
        return self._new_member(c, "service_registered", f"/v1/members/{c.body['member_id']}")

    # --- profile, password, status

    def member_change_profile(self, c: Command) -> Outcome:
        member = self._active(c)
        if isinstance(member, Outcome):
            return member
        self._edit(member, c)
        if c.body["full_name"] is not None:
            member["full_name"] = c.body["full_name"]
        if c.body["phone_number"] is not None or c.body["clear_phone_number"]:
            member["phone_number"] = c.body["phone_number"]
        self._tell(c, "profile_changed", member)
        return succeeded(200, ME)

    def member_change_password(self, c: Command) -> Outcome:
        member = self._with_credentials(c)
        if isinstance(member, Outcome):
            return member
        self._edit(member, c)
        member["password_hash"] = c.body["password_hash"]
        member["credential_version"] += 1
        self._tell(c, "password_changed", member)
        self._revoke(c, lambda token: token["family_id"] != c.body["keep_session_id"])
        return succeeded(204)

    def _set_status(self, c: Command, member: Row, status: str) -> None:
        self._edit(member, c)
        member["status"] = status
        member["credential_version"] += 1
        self._tell(c, "status_changed", member, status=status)
        if status != "ACTIVE":
            self._revoke(c, lambda _: True)

    def member_deactivate(self, c: Command) -> Outcome:
        member = self._active(c)
        if isinstance(member, Outcome):
            return member
        self._set_status(c, member, "INACTIVE")
        return succeeded(204)

    def member_set_status(self, c: Command) -> Outcome:
        member = self.members.get(c.body["member_id"])
        if not member:
            return NOT_FOUND
        if member["status"] != c.body["status"]:
            self._set_status(c, member, c.body["status"])
        return succeeded(200, f"/v1/members/{c.body['member_id']}")

    # --- addresses

    def _addresses_of(self, member_id: str) -> list[tuple[str, Row]]:
        return oldest_first(self.addresses[member_id])

    def _make_default(self, member_id: str, address_id: str) -> None:
        for each, row in self._addresses_of(member_id):
            row["is_default"] = each == address_id

    def _tell_address(self, c: Command, what: str, member: Row, address_id: str) -> None:
        default = next((i for i, row in self._addresses_of(c.body["member_id"]) if row["is_default"]), None)
        self._tell(c, what, member, address_id=address_id, default_address_id=default)

    def _own_address(self, c: Command) -> tuple[Row, Row] | Outcome:
        """The member and the address that is meant."""
        member = self._active(c)
        if isinstance(member, Outcome):
            return member
        address = self.addresses[c.body["member_id"]].get(c.body["address_id"])
        return (member, address) if address else NOT_FOUND

    def member_add_address(self, c: Command) -> Outcome:
        member, member_id = self._active(c), c.body["member_id"]
        if isinstance(member, Outcome):
            return member
        address_id = ids.derived_id(c.id, member_id, "address")
        others = self._addresses_of(member_id)
        if address_id in self.addresses[member_id]:
            return ID_USED
        if len(others) == ADDRESSES_MAX:
            return rejected(422, "addresses-limit")
        self._edit(member, c)
        parts = {part: c.body[part] for part in ADDRESS_PARTS}
        self.addresses[member_id][address_id] = {**parts, "is_default": False, "created_at": c.at_ms}
        if not others or c.body["is_default"]:
            self._make_default(member_id, address_id)
        self._tell_address(c, "address_added", member, address_id)
        return succeeded(201, f"{ME}/addresses/{address_id}")

    def member_change_address(self, c: Command) -> Outcome:
        found = self._own_address(c)
        if isinstance(found, Outcome):
            return found
        member, address = found
        if c.body["is_default"] is False and address["is_default"]:
            return rejected(422, "default-address")
        self._edit(member, c)
        for part in ADDRESS_PARTS:
            if c.body[part] is not None or (part == "address_line2" and c.body["clear_address_line2"]):
                address[part] = c.body[part]
        if c.body["is_default"]:
            self._make_default(c.body["member_id"], c.body["address_id"])
        self._tell_address(c, "address_changed", member, c.body["address_id"])
        return succeeded(200, f"{ME}/addresses/{c.body['address_id']}")

    def member_remove_address(self, c: Command) -> Outcome:
        found = self._own_address(c)
        if isinstance(found, Outcome):
            return found
        member, address = found
        self._edit(member, c)
        del self.addresses[c.body["member_id"]][c.body["address_id"]]
        left = self._addresses_of(c.body["member_id"])
        if address["is_default"] and left:
            self._make_default(c.body["member_id"], left[0][0])
        self._tell_address(c, "address_removed", member, c.body["address_id"])
        return succeeded(204)

    def member_set_default_address(self, c: Command) -> Outcome:
        found = self._own_address(c)
        if isinstance(found, Outcome):
            return found
        member, address = found
        if not address["is_default"]:
            self._edit(member, c)
            self._make_default(c.body["member_id"], c.body["address_id"])
            self._tell_address(c, "address_changed", member, c.body["address_id"])
        return succeeded(200, f"{ME}/addresses/{c.body['address_id']}")

    # --- tokens

    def _tokens_of(self, member_id: str) -> list[tuple[str, Row]]:
        return oldest_first(self.tokens[member_id])

    def _revoke(self, c: Command, wanted: Callable[[Row], bool]) -> bool:
        """What might still be taken of those wanted, told in one event; was there any?"""
        member_id = c.body["member_id"]
        revoked = [(i, row) for i, row in self._tokens_of(member_id) if is_revocable(row, c.clock_ms) and wanted(row)]
        for _, row in revoked:
            row["is_revoked"] = True
        if revoked:
            told = [{"token_id": i, "expires_at": row["expires_at"]} for i, row in revoked]
            self._tell(c, "tokens_revoked", self.members[member_id], tokens=told)
        return bool(revoked)

    def _has_room(self, c: Command, sessions: int, rows: int) -> bool:
        mine = [row for _, row in self._tokens_of(c.body["member_id"])]
        live = sum(is_live(row, c.clock_ms) and row["kind"] != "access" for row in mine)
        needed = sum(is_needed(row, c.clock_ms) for row in mine)
        return live + sessions <= SESSIONS_MAX and needed + rows <= TOKENS_MAX

    def _make_room(self, c: Command, rows: int) -> None:
        """Drops what ended a day ago, then the oldest of what nobody needs until there is room."""
        mine = self._tokens_of(c.body["member_id"])
        kept = [(token_id, row) for token_id, row in mine if row["expires_at"] + DAY_MS > c.clock_ms]
        excess = max(0, len(kept) + rows - TOKENS_MAX)
        dropped = {token_id for token_id, row in [p for p in kept if not is_needed(p[1], c.clock_ms)][:excess]}
        self.tokens[c.body["member_id"]] = {token_id: row for token_id, row in kept if token_id not in dropped}

    def _add_tokens(
        self, c: Command, family: str, scope: str, label: str, **kinds: tuple[bytes, int]
    ) -> dict[str, str]:
        """Kind -> (hash, end) becomes kind -> id."""
        made = {kind: ids.derived_id(c.id, c.body["member_id"], kind) for kind in kinds}
        for kind, (token_hash, expires_at) in kinds.items():
            self.tokens[c.body["member_id"]][made[kind]] = {
                "token_hash": token_hash.hex(),
                "expires_at": expires_at,
                "is_revoked": False,
                "created_at": c.at_ms,
                "family_id": family,
                "kind": kind,
                "scope": scope,
                "label": label,
            }
        return made

    def _id_is_used(self, c: Command, *kinds: str) -> bool:
        member_id = c.body["member_id"]
        return any(ids.derived_id(c.id, member_id, kind) in self.tokens[member_id] for kind in kinds)

    def _tell_session(self, c: Command, what: str, made: dict[str, str]) -> None:
        self._tell(
            c,
            what,
            self.members[c.body["member_id"]],
            access_token_id=made["access"],
            refresh_token_id=made["refresh"],
            access_expires_at=c.body["access_expires_at"],
            refresh_expires_at=c.body["refresh_expires_at"],
        )

    # --- sessions

    def member_start_session(self, c: Command) -> Outcome:
        member = self._with_credentials(c)
        if isinstance(member, Outcome):
            return member
        if self._id_is_used(c, "access", "refresh"):
            return ID_USED
        if not self._has_room(c, 1, 2):
            return TOO_MANY_SESSIONS
        self._make_room(c, 2)
        family = ids.derived_id(c.id, c.body["member_id"], "family")
        made = self._add_tokens(
            c,
            family,
            "",
            "",
            access=(c.body["access_token_hash"], c.body["access_expires_at"]),
            refresh=(c.body["refresh_token_hash"], c.body["refresh_expires_at"]),
        )
        if c.body["password_hash"] is not None:
            member["password_hash"] = c.body["password_hash"]
        member["last_login_at"] = max(member["last_login_at"] or 0, c.at_ms)
        self._tell_session(c, "session_started", made)
        return succeeded(200, f"/v1/auth/sessions/{family}")

    def member_refresh_session(self, c: Command) -> Outcome:
        member = self._active(c)
        if isinstance(member, Outcome):
            return member
        shown = self.tokens[c.body["member_id"]].get(c.body["refresh_token_id"])
        if not shown or shown["kind"] != "refresh":
            return NO_GOOD
        family = shown["family_id"]
        if shown["is_revoked"]:
            self._revoke(c, lambda token: token["family_id"] == family)
            return NO_GOOD
        if not is_live(shown, c.clock_ms):
            return NO_GOOD
        if self._id_is_used(c, "access", "refresh"):
            return ID_USED
        if not self._has_room(c, 0, 2):
            return TOO_MANY_SESSIONS
        shown["is_revoked"] = True
        self._make_room(c, 2)
        made = self._add_tokens(
            c,
            family,
            "",
            "",
            access=(c.body["access_token_hash"], c.body["access_expires_at"]),
            refresh=(c.body["new_refresh_token_hash"], c.body["refresh_expires_at"]),
        )
        self._tell_session(c, "session_refreshed", made)
        return succeeded(200, f"/v1/auth/sessions/{family}")

    def member_end_session(self, c: Command) -> Outcome:
        session = c.body["session_id"]
        if not any(row["family_id"] == session for _, row in self._tokens_of(c.body["member_id"])):
            return NOT_FOUND
        self._revoke(c, lambda token: token["family_id"] == session)
        return succeeded(204)

    def member_end_all_sessions(self, c: Command) -> Outcome:
        if c.body["member_id"] not in self.members:
            return NOT_FOUND
        self._revoke(c, lambda _: True)
        return succeeded(204)

    # --- issued tokens

    def member_issue_token(self, c: Command) -> Outcome:
        member = self.members.get(c.body["member_id"])
        if not member or not member["is_service"]:
            return NOT_FOUND
        if member["status"] != "ACTIVE":
            return NOT_ACTIVE
        if self._id_is_used(c, "service"):
            return ID_USED
        if not self._has_room(c, 1, 1):
            return TOO_MANY_SESSIONS
        self._make_room(c, 1)
        family = ids.derived_id(c.id, c.body["member_id"], "family")
        shown = (c.body["token_hash"], c.body["expires_at"])
        made = self._add_tokens(c, family, c.body["scope"], c.body["label"], service=shown)
        self._tell(
            c, "token_issued", member, token_id=made["service"], scope=c.body["scope"], expires_at=c.body["expires_at"]
        )
        return succeeded(201, f"/v1/auth/sessions/{family}")

    def member_revoke_token(self, c: Command) -> Outcome:
        token = self.tokens[c.body["member_id"]].get(c.body["token_id"])
        if not token:
            return NOT_FOUND
        self._revoke(c, lambda row: row is token)
        return succeeded(204)

    # --- the change of an e-mail address: member, address, member

    def _take_address(self, c: Command, member: Row, email: str, folded: str) -> None:
        self._edit(member, c)
        member["credential_version"] += member["email_folded"] != folded
        member["email"], member["email_folded"] = email, folded
        self._tell(c, "email_changed", member)

    def member_change_email(self, c: Command) -> Outcome:
        member = self._with_credentials(c)
        if isinstance(member, Outcome):
            return member
        member_id, folded = c.body["member_id"], c.body["email_folded"]
        earlier = self.email_changes.pop(member_id, None)
        if earlier:
            c.finish(earlier["command"], rejected(409, "superseded"))
        if folded == member["email_folded"] or c.body["claim_id"] == member_id:
            self._take_address(c, member, c.body["email"], folded)
            return succeeded(200, ME)
        self.email_changes[member_id] = {"command": c.as_pending(), "email": c.body["email"], "email_folded": folded}
        self._tell(c, "email_change_asked", member, change_id=c.id, claim_id=c.body["claim_id"])
        return pending(ME)

    def member_claim_email(self, c: Command) -> Outcome:
        claim_id, member_id = c.body["claim_id"], c.body["member_id"]
        claim = self.claims.get(claim_id)
        if claim:
            granted = claim["member_id"] == member_id
        else:
            granted = claim_id not in self.members
            if granted:
                self.claims[claim_id] = {"member_id": member_id, "created_at": c.at_ms}
        c.emit(
            "member.email_claim_decided.v1",
            claim_id=claim_id,
            member_id=member_id,
            change_id=c.body["change_id"],
            granted=granted,
        )
        return succeeded(200)

    def member_complete_email_change(self, c: Command) -> Outcome:
        member_id = c.body["member_id"]
        change = self.email_changes.get(member_id)
        if not change or change["command"].id != c.body["change_id"]:
            return succeeded(200)
        del self.email_changes[member_id]
        member = self.members[member_id]
        if not c.body["granted"]:
            c.finish(change["command"], TAKEN)
        elif member["status"] != "ACTIVE":
            c.finish(change["command"], NOT_ACTIVE)
        else:
            self._take_address(c, member, change["email"], change["email_folded"])
            c.finish(change["command"], succeeded(200, ME))
        return succeeded(200)
