"""How a finding is worded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.model.verification import Check, Finding, Outcome, Provenance, Signature
from reconciler.plan.trust import confirms, ranked


def finding(
    check: Check, outcome: Outcome, what: str, *, required: bool = True, rests_on: Iterable[Provenance] = ()
) -> Finding:
    """A finding. What is `wrong` counts whether it is required or not. What is hearsay alone is not proven."""
    kinds = ranked(rests_on)
    if outcome == "proven" and not confirms(kinds):
        outcome, what = "not proven", f"{what}; nothing confirms it"
    return Finding(check=check, outcome=outcome, what=what, required=required, rests_on=kinds)


def judge_signature(check: Check, signature: Signature, what: str, *, needed: str) -> Finding:
    """What a signature proves. `needed` says why one has to be there, and is empty where none has to."""
    required = bool(needed)
    match signature.state:
        case "good":
            told = f"{what} is signed by {signature.by} ({signature.key})"
            return finding(check, "proven", told, required=required, rests_on=("ours",))
        case "bad":
            return finding(
                check, "wrong", f"the signature of {what} is not its own: {signature.why}", required=required
            )
        case "absent" if needed:
            return finding(check, "wrong", f"{what} is not signed, {needed}")
        case "absent":
            return finding(check, "not proven", f"{what} is not signed: git.sign was not set", required=False)
        case "untrusted":
            key = f" ({signature.key})" if signature.key else ""
            return finding(check, "not proven", f"{what} is signed{key}, but {signature.why}", required=required)
        case _:
            told = f"{what} is signed, and {signature.why} (--allowed-signers)"
            return finding(check, "not proven", told, required=required)


def join(words: Sequence[str]) -> str:
    """Words as a sentence lists them: `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
