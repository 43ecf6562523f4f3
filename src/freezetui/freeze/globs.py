"""Matches glob patterns by an automaton over segments: each segment of a name is one step.

The positions in all branches of a pattern advance together, with common prefixes shared. The sets of
positions that names lead to are computed on first use and cached, so that a step is one lookup.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from freezetui.freeze.braces import ANY_DEPTH, branches, split
from freezetui.freeze.segments import ANY, Choice, Matcher, Segment, parse
from freezetui.freeze.tree import ParamTree

#: Looking up a child by name builds a map of all children, which pays off if there are many.
_MIN_NODES_PER_TEXT = 64


class Glob:
    """A parsed pattern without `re:`.

    Raises:
        PatternError: the text is malformed.
    """

    def __init__(self, text: str) -> None:
        self._states: dict[frozenset[_Place], _State] = {}
        root = _Place()
        parsed: dict[str, Segment] = {}
        texts = branches(text)
        #: The segments that every match begins with, found by lookups alone.
        self._above: list[str] = []
        for branch in texts:
            segments = split(branch, ".")
            while len(segments) > 1 and segments[-1] == ANY_DEPTH:
                segments.pop()  # a pattern covers everything below it anyway
            place = root
            for segment in segments:
                if segment == ANY_DEPTH:
                    place = place.after_any_depth()
                    continue
                if segment not in parsed:
                    parsed[segment] = parse(segment, text)
                wanted = parsed[segment]
                if len(texts) == 1 and place is root and not root.lasting and isinstance(wanted, str):
                    self._above.append(wanted)
                else:
                    place = place.after(wanted)
            place.final = True
        self._start = self.state(root.closure())

    def state(self, places: Iterable[_Place]) -> _State:
        """Return the state of exactly these places."""
        key = frozenset(places)
        known = self._states.get(key)
        if known is None:
            known = self._states[key] = _State(self, key)
            if known.others_stay:
                known.rest = self.state(known.others)
        return known

    def matches(self, name: str) -> bool:
        """Whether this matches the tensor called `name` or a module above it."""
        segments = name.split(".")
        if segments[: len(self._above)] != self._above:
            return False
        state = self._start
        for segment in segments[len(self._above) :]:
            if state.final:
                break
            state = state.after(segment)
        return state.final

    def nodes(self, tree: ParamTree) -> list[int]:
        """Return the topmost nodes of `tree` that this matches, in no particular order."""
        nodes = [0]
        for text in self._above:
            nodes = [child for node in nodes for child in tree.named(node, text)]
        if self._start.final:
            return nodes
        found: list[int] = []
        waiting = [(node, self._start) for node in nodes]
        while waiting:
            node, state = waiting.pop()
            if state.rest is state:
                _jump(tree, node, state, found, waiting)
            elif state.by_name(tree.end[node] - node):
                for text in state.table:
                    after = state.after(text)
                    children = tree.named(node, text)
                    if after.final:
                        found += children
                    else:
                        waiting += [(child, after) for child in children]
            else:
                _walk(tree, node, state, found, waiting)
        return found


class _Place:
    """A place between two segments of a pattern, with the transitions to the next places."""

    __slots__ = ("_deeper", "any", "final", "lasting", "tests", "texts")

    def __init__(self, lasting: bool = False) -> None:
        self.any: _Place | None = None
        self.texts: dict[str, _Place] = {}
        self.tests: dict[Matcher, _Place] = {}
        self.final = False
        self.lasting = lasting  # after `**`: any segment stays here
        self._deeper: _Place | None = None

    def after(self, segment: Segment) -> _Place:
        """Return the place that a segment leads to."""
        if isinstance(segment, str):
            return self.texts.setdefault(segment, _Place())
        if segment is ANY:
            self.any = self.any or _Place()
            return self.any
        return self.tests.setdefault(segment, _Place())

    def after_any_depth(self) -> _Place:
        """Return the place that `**` leads to; a second `**` adds nothing."""
        if self.lasting:
            return self
        self._deeper = self._deeper or _Place(lasting=True)
        return self._deeper

    def closure(self) -> tuple[_Place, ...]:
        """Return this place, and the one that `**` leads to without any segment."""
        return (self,) if self._deeper is None else (self, self._deeper)


class _State:
    """A set of places.

    Attributes:
        table: segment -> the state it leads to; None if not needed so far.
        rest: the state that all other segments lead to; None if they must be tested, or if not needed so far.
        tests: the matchers to test all other segments with.
        others: the places that any segment leads to.
        others_stay: whether all of these lead back to themselves, and nothing must be tested.
        final: whether a branch is matched.
        dead: whether no segment leads anywhere.
    """

    __slots__ = (
        "_by_places",
        "_glob",
        "_texts",
        "dead",
        "final",
        "others",
        "others_stay",
        "rest",
        "table",
        "tests",
    )

    def __init__(self, glob: Glob, places: frozenset[_Place]) -> None:
        self._glob = glob
        self._texts: dict[str, list[_Place]] = {}
        self._by_places: dict[tuple[_Place, ...], _State] = {}
        self.rest: _State | None = None
        self.tests: list[tuple[Matcher, _Place]] = []
        self.others = [place for place in places if place.lasting]
        self.final = any(place.final for place in places)
        self.others_stay = not any(place.any or place.tests for place in places)
        for place in places:
            if place.any is not None:
                self.others += place.any.closure()
            for text, after in place.texts.items():
                self._texts.setdefault(text, []).append(after)
            for test, after in place.tests.items():
                self._add_test(test, after)
        self.table: dict[str, _State | None] = dict.fromkeys(self._texts)
        self.dead = not (self._texts or self.tests or self.others)

    def _add_test(self, test: Matcher, after: _Place) -> None:
        """Add a matcher; its literal alternatives are looked up, however many there are."""
        if isinstance(test, Choice):
            for text in test.texts:
                self._texts.setdefault(text, []).append(after)
            if test.only_texts:
                return
        self.tests.append((test, after))

    def by_name(self, nodes: int) -> bool:
        """Whether looking up its few texts is faster than walking the `nodes` below a node."""
        return not (self.tests or self.others) and _MIN_NODES_PER_TEXT * len(self.table) < nodes

    def after(self, segment: str) -> _State:
        """Return the state that a segment leads to."""
        known = self.table.get(segment, self.rest)
        if known is not None:
            return known
        texts = self._texts.get(segment, [])
        places = (*texts, *[place for test, place in self.tests if test.fits(segment)])
        found = self._by_places.get(places)
        if found is None:
            closed = chain.from_iterable(place.closure() for place in places)
            found = self._by_places[places] = self._glob.state(chain(self.others, closed))
        if texts or self.tests:
            self.table[segment] = found
        else:
            self.rest = found
        return found


def _jump(
    tree: ParamTree, node: int, state: _State, found: list[int], waiting: list[tuple[int, _State]]
) -> None:
    """Add the topmost matches below `node`, or what leads to them, if most segments change nothing."""
    table, ends = state.table, tree.end
    stop = node + 1
    for child, name in enumerate(tree.names[node + 1 : ends[node]], node + 1):
        if name in table and child >= stop:
            after = table[name] or state.after(name)
            stop = ends[child]
            if after.final:
                found.append(child)
            else:
                waiting.append((child, after))


def _walk(
    tree: ParamTree, node: int, state: _State, found: list[int], waiting: list[tuple[int, _State]]
) -> None:
    """Add the topmost matches below `node`; add to `waiting` what is faster to look up or jump over."""
    names, depths, ends = tree.names, tree.depths, tree.end
    level = depths[node] + 1
    reached = [state]  # per depth, from `node` on
    child, stop = node + 1, ends[node]
    while child < stop:
        depth = depths[child] - level
        state = reached[depth]
        name = names[child]
        after = state.table.get(name, state.rest)
        if after is None:
            after = state.after(name)
        end = ends[child]
        if after.final:
            found.append(child)
            child = end
        elif after.dead or end == child + 1:
            child = end
        elif end - child > _MIN_NODES_PER_TEXT and (after.rest is after or after.by_name(end - child)):
            waiting.append((child, after))
            child = end
        else:
            depth += 1
            if depth < len(reached):
                reached[depth] = after
            else:
                reached.append(after)
            child += 1
