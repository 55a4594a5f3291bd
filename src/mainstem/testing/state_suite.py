"""Does a state store keep its promises: tests that the author of a store runs against it.

Example:
    A file ``test_ours.py`` beside the store::

        from mainstem.testing.state_suite import StateStoreSuite

        class TestOurs(StateStoreSuite):
            @pytest.fixture
            def make_store(self, tmp_path):
                return lambda: OurStore(tmp_path)
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.state.protocol import EMPTY, MAX_BLOB_BYTES, MAX_KEY_BYTES, StateStore

SPACE = "feed@1"
NEXT = "feed@2"


class StateStoreSuite:
    """One test for each promise of ``StateStore``. Subclass it and override ``make_store``."""

    lasting: ClassVar[bool] = True
    """Whether a store opened again in the same place has what the closed one had."""

    @pytest.fixture
    def make_store(self) -> Callable[[], StateStore]:
        """Opens the store in a place that is empty when the test begins; each further call opens the same place."""
        raise NotImplementedError("override make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], StateStore]) -> Iterator[StateStore]:
        """An open, empty store."""
        with make_store() as store:
            yield store

    def test_an_empty_store_has_nothing_and_says_so(self, store: StateStore) -> None:
        """Reading what was never written is no error."""
        assert isinstance(store, StateStore)
        assert store.get(SPACE, [b"a", b"b"]) == [None, None]
        assert store.get(SPACE, []) == []
        assert store.applied(SPACE) == EMPTY
        assert list(store.scan(SPACE)) == []
        assert store.active() is None
        assert store.namespaces() == []
        store.drop(SPACE)

    def test_blobs_come_back_in_the_order_asked_for(self, store: StateStore) -> None:
        """Any bytes are a key and a blob, empty ones too; one key may be asked for twice."""
        every = bytes(range(256))
        store.commit(SPACE, {b"a": every, b"": b"", every: b"\0"}, applied=3, expect=EMPTY)
        assert store.get(SPACE, [every, b"a", b"none", b"a", b""]) == [b"\0", every, None, every, b""]
        assert store.applied(SPACE) == 3

    def test_a_commit_changes_and_forgets(self, store: StateStore) -> None:
        """What is not in the changes stays."""
        store.commit(SPACE, {b"a": b"1", b"b": b"2", b"c": b"3"}, applied=0, expect=EMPTY)
        store.commit(SPACE, {b"a": b"9", b"b": None, b"never": None}, applied=5, expect=0)
        assert dict(store.scan(SPACE)) == {b"a": b"9", b"c": b"3"}
        store.commit(SPACE, {}, applied=6, expect=5)
        assert store.applied(SPACE) == 6
        store.commit(SPACE, {b"a": None, b"c": None}, applied=7, expect=6)
        assert (list(store.scan(SPACE)), store.applied(SPACE)) == ([], 7)

    def test_a_repeated_commit_changes_nothing(self, store: StateStore) -> None:
        """Exactly once: after a lost answer the writer just commits again."""
        store.commit(SPACE, {b"a": b"1"}, applied=4, expect=EMPTY)
        store.commit(SPACE, {b"a": b"1"}, applied=4, expect=EMPTY)
        store.commit(SPACE, {b"a": b"2"}, applied=8, expect=4)
        store.commit(SPACE, {b"a": b"2"}, applied=8, expect=4)
        assert (store.get(SPACE, [b"a"]), store.applied(SPACE)) == ([b"2"], 8)

    @pytest.mark.parametrize(("applied", "expect"), [(9, EMPTY), (9, 3), (9, 5), (3, EMPTY), (2**62, 2**53)])
    def test_a_late_writer_is_fenced(self, store: StateStore, applied: int, expect: int) -> None:
        """A commit from another offset than the stored one leaves no trace."""
        store.commit(SPACE, {b"a": b"1"}, applied=4, expect=EMPTY)
        with pytest.raises(StoreError) as caught:
            store.commit(SPACE, {b"a": b"late", b"z": b"z"}, applied=applied, expect=expect)
        assert caught.value.code == "store-062"
        assert (store.get(SPACE, [b"a", b"z"]), store.applied(SPACE)) == ([b"1", None], 4)

    def test_offsets_are_whole_int64(self, store: StateStore) -> None:
        """Neighbours beyond 2**53, which a float would take for one, are two."""
        store.commit(SPACE, {}, applied=2**62, expect=EMPTY)
        with pytest.raises(StoreError, match="another writer"):
            store.commit(SPACE, {}, applied=2**62 + 2, expect=2**62 + 1)
        store.commit(SPACE, {}, applied=2**63 - 1, expect=2**62)
        assert store.applied(SPACE) == 2**63 - 1

    @pytest.mark.parametrize(("applied", "expect"), [(4, 4), (3, 4), (EMPTY, EMPTY), (-2, -3), (5, -2), (2**63, 0)])
    def test_an_offset_that_does_not_ascend_is_refused(self, store: StateStore, applied: int, expect: int) -> None:
        """Whatever is stored."""
        with pytest.raises(StoreError) as caught:
            store.commit(SPACE, {b"a": b"1"}, applied=applied, expect=expect)
        assert caught.value.code == "store-075"
        assert store.namespaces() == []

    def test_bounds_of_keys_blobs_and_names(self, store: StateStore) -> None:
        """The largest are kept, one byte more is refused and nothing of the commit is written."""
        blob = random.Random(1).randbytes(MAX_BLOB_BYTES)
        key = b"k" * MAX_KEY_BYTES
        store.commit(SPACE, {key: blob}, applied=0, expect=EMPTY)
        assert store.get(SPACE, [key]) == [blob]
        for code, changes in (("store-066", {b"b": blob + b"x"}), ("store-067", {key + b"k": b""})):
            for write in (lambda c: store.commit(SPACE, c, applied=1, expect=0), lambda c: store.fill(NEXT, c)):
                with pytest.raises(StoreError) as caught:
                    write({b"a": b"1", **changes})
                assert caught.value.code == code
        with pytest.raises(StoreError) as caught:
            store.get(SPACE, [key + b"k"])
        assert caught.value.code == "store-067"
        assert (store.get(SPACE, [b"a"]), store.namespaces()) == ([None], [SPACE])
        for name in ("", "a b", "{a}", "a\n", "x" * 201):
            with pytest.raises(StoreError) as caught:
                store.commit(name, {}, applied=1, expect=EMPTY)
            assert caught.value.code == "store-068"

    def test_namespaces_do_not_see_each_other(self, store: StateStore) -> None:
        """Each has its blobs and its offset; a name that begins like another one is another one."""
        for at, name in enumerate((SPACE, NEXT, SPACE + "0")):
            store.commit(name, {b"a": name.encode()}, applied=at, expect=EMPTY)
        assert store.namespaces() == sorted((SPACE, NEXT, SPACE + "0"))
        assert [store.applied(name) for name in (SPACE, NEXT, SPACE + "0")] == [0, 1, 2]
        store.drop(SPACE)
        assert store.namespaces() == sorted((NEXT, SPACE + "0"))
        assert [store.get(name, [b"a"]) for name in (SPACE, NEXT)] == [[None], [NEXT.encode()]]
        assert dict(store.scan(SPACE + "0")) == {b"a": (SPACE + "0").encode()}

    def test_a_dropped_namespace_begins_from_nothing(self, store: StateStore) -> None:
        """Nothing of the old one shows up in the new one of the same name."""
        store.commit(SPACE, {b"%d" % at: b"old" for at in range(7_000)}, applied=4, expect=EMPTY)
        store.drop(SPACE)
        assert (store.applied(SPACE), list(store.scan(SPACE))) == (EMPTY, [])
        store.commit(SPACE, {b"1": b"new"}, applied=2, expect=EMPTY)
        assert dict(store.scan(SPACE)) == {b"1": b"new"}

    def test_the_active_namespace_switches_and_cannot_be_dropped(self, store: StateStore) -> None:
        """The old one stays until it is dropped."""
        store.commit(SPACE, {b"a": b"1"}, applied=1, expect=EMPTY)
        store.activate(SPACE)
        store.commit(NEXT, {b"a": b"2"}, applied=1, expect=EMPTY)
        assert store.active() == SPACE
        store.activate(NEXT)
        assert (store.active(), store.get(SPACE, [b"a"])) == (NEXT, [b"1"])
        with pytest.raises(StoreError) as caught:
            store.drop(NEXT)
        assert caught.value.code == "store-070"
        assert store.get(NEXT, [b"a"]) == [b"2"]
        store.drop(SPACE)
        assert (store.active(), store.namespaces()) == (NEXT, [NEXT])

    def test_only_a_closed_namespace_serves(self, store: StateStore) -> None:
        """Neither an unknown nor a half-filled one; an empty one that a commit made does."""
        store.fill(NEXT, {b"a": b"1"})
        for name in (SPACE, NEXT):
            with pytest.raises(StoreError) as caught:
                store.activate(name)
            assert caught.value.code == "store-069"
        assert store.active() is None
        store.commit(SPACE, {}, applied=EMPTY, expect=EMPTY)
        store.activate(SPACE)
        assert (store.active(), store.applied(SPACE)) == (SPACE, EMPTY)

    def test_a_load_by_parts(self, store: StateStore) -> None:
        """The offset comes with the commit that closes it; after that no part goes in."""
        store.fill(SPACE, {b"a": b"1", b"b": b"2"})
        store.fill(SPACE, {b"b": b"3", b"c": b"4", b"a": None})
        assert (store.applied(SPACE), store.namespaces()) == (EMPTY, [SPACE])
        store.commit(SPACE, {b"d": b"5"}, applied=90, expect=EMPTY)
        assert dict(store.scan(SPACE)) == {b"b": b"3", b"c": b"4", b"d": b"5"}
        with pytest.raises(StoreError) as caught:
            store.fill(SPACE, {b"b": b"late"})
        assert caught.value.code == "store-062"
        assert store.get(SPACE, [b"b"]) == [b"3"]

    def test_many_blobs_in_one_commit_one_read_and_one_scan(self, store: StateStore) -> None:
        """More than fit one page or one command."""
        blobs = {b"key-%d" % at: b"%d" % at * (at % 40) for at in range(12_345)}
        store.commit(SPACE, blobs, applied=1, expect=EMPTY)
        keys = [*reversed(blobs), b"none"]
        assert store.get(SPACE, keys) == [*(blobs[key] for key in keys[:-1]), None]
        found = list(store.scan(SPACE))
        assert len(found) == len(blobs)
        assert dict(found) == blobs
        store.commit(SPACE, dict.fromkeys(list(blobs)[1:]), applied=2, expect=1)
        assert list(store.scan(SPACE)) == [(b"key-0", b"")]

    def test_a_scan_into_which_a_commit_falls_says_so(self, store: StateStore) -> None:
        """It never mixes two offsets; the writer is not held up by a scan left lying."""
        store.commit(SPACE, {b"%d" % at: b"x" * 10 for at in range(9_000)}, applied=1, expect=EMPTY)
        scan = store.scan(SPACE)
        next(scan)
        store.commit(SPACE, {b"5": b"y"}, applied=2, expect=1)
        with pytest.raises(StoreError) as caught:
            list(scan)
        assert caught.value.code == "store-071"

    def test_readers_beside_a_writer_see_whole_commits(self, store: StateStore) -> None:
        """Every read finds all keys at one offset."""
        keys = [b"%d" % at for at in range(10)]
        store.commit(SPACE, dict.fromkeys(keys, b"0"), applied=0, expect=EMPTY)
        stop, torn = threading.Event(), []

        def read() -> None:
            while not stop.wait(0.0005):
                found = set(store.get(SPACE, keys))
                if len(found) != 1:
                    torn.append(found)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for at in range(1, 25):
            store.commit(SPACE, dict.fromkeys(keys, b"%d" % at), applied=at, expect=at - 1)
        stop.set()
        for reader in readers:
            reader.join()
        assert not torn

    def test_of_many_writers_one_wins_each_offset(self, store: StateStore) -> None:
        """The fence holds between threads."""
        store.commit(SPACE, {}, applied=0, expect=EMPTY)
        won: list[int] = []

        def write(me: int) -> None:
            for at in range(1, 12):
                try:
                    # Distinct offsets per writer, so that a repeated commit is not what wins.
                    store.commit(SPACE, {b"a": b"%d" % me}, applied=at * 10 + me, expect=store.applied(SPACE))
                    won.append(at * 10 + me)
                except StoreError as error:
                    if error.code not in ("store-062", "store-075"):
                        raise

        writers = [threading.Thread(target=write, args=(me,)) for me in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(won) == len(set(won))
        assert store.applied(SPACE) == max(won)
        assert store.get(SPACE, [b"a"]) == [b"%d" % (max(won) % 10)]

    def test_what_was_committed_is_there_when_opened_again(self, make_store: Callable[[], StateStore]) -> None:
        """Blobs, offset, what serves, and a load that is still open."""
        if not self.lasting:
            pytest.skip("this store ends with its process, by its own word (lasting = False)")
        with make_store() as store:
            store.commit(SPACE, {b"a": b"1"}, applied=7, expect=EMPTY)
            store.activate(SPACE)
            store.fill(NEXT, {b"b": b"2"})
        with make_store() as store:
            assert (store.get(SPACE, [b"a"]), store.applied(SPACE), store.active()) == ([b"1"], 7, SPACE)
            assert (store.namespaces(), store.applied(NEXT)) == ([SPACE, NEXT], EMPTY)
            store.commit(NEXT, {}, applied=9, expect=EMPTY)
            assert dict(store.scan(NEXT)) == {b"b": b"2"}

    def test_a_closed_store_refuses(self, make_store: Callable[[], StateStore]) -> None:
        """Twice closed is closed."""
        store = make_store()
        store.close()
        store.close()
        for call in (
            lambda: store.get(SPACE, [b"a"]),
            lambda: store.commit(SPACE, {}, applied=1, expect=EMPTY),
            store.active,
            store.namespaces,
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.code == "store-074"
