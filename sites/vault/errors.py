"""The ways in which the vault says no; `code` is the word that programs read on the wire."""

from collections.abc import Sequence


class VaultError(Exception):
    """Anything that the vault refuses; the text is a whole sentence fit for a person."""

    code = "vault_refused"


class UnsafePath(VaultError):
    """A path or link of a snapshot that could act outside the snapshot's own tree."""

    code = "unsafe_path"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The path {shown(path)} is refused: {reason}.")
        self.path = path
        self.reason = reason


class InvalidManifest(VaultError):
    """A manifest that does not describe a tree, or disagrees with the objects it names."""

    code = "invalid_manifest"


class InvalidObjects(VaultError):
    """A stream of objects that is cut off, badly framed, or holds what nobody asked for."""

    code = "invalid_objects"


class WrongHash(VaultError):
    """An object whose bytes do not give the id that it came with."""

    code = "hash_mismatch"


class IncompleteSnapshot(VaultError):
    """A seal before everything that the manifest names has arrived."""

    code = "incomplete_snapshot"

    def __init__(
        self, message: str, *, missing: Sequence[str] = (), missing_content: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.missing = list(missing)
        self.missing_content = list(missing_content)


class NoManifest(IncompleteSnapshot):
    """Objects or a seal of a snapshot whose manifest was not sent, or dropped with all the rest."""

    def __init__(self) -> None:
        super().__init__(
            "Here is no manifest of this snapshot: none was sent, or all that was sent has been "
            "dropped, as where there was no room for it. Send the manifest first."
        )


class TreeMismatch(VaultError):
    """A seal for another tree than the manifest gives, or than was sealed before."""

    code = "tree_mismatch"


class NotInVault(VaultError):
    """A commit, path or object that the vault does not hold (any more)."""

    code = "not_found"


def shown(path: str) -> str:
    """Quote `path` for a message: short, printable, safe in any encoding."""
    return ascii(path if len(path) <= 200 else path[:197] + "...")
