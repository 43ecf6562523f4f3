"""Glob patterns as an automaton over segments: each segment of a name is one step, whatever the pattern.

The places in all branches of a pattern are walked at the same time, common beginnings once. The sets of
places that names lead to are made when a name first leads there and kept, so that a step is one look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from freezetui.freeze.braces import ANY_DEPTH, branches, split
from freezetui.freeze.segments import Choice, Matcher, Segment, parse
from freezetui.freeze.tree import ParamTree

#: Looking a child up by name makes a map of all children, which pays where there are many.
_MIN_NODES_PER_TEXT = 8


class Glob:
    """A parsed pattern without `re:`.

    Raises:
        PatternError: the text is malformed.
    """

    def __init__(self, text: str) -> None:
        self._states: dict[frozenset[_Place], _State] = {}
        root = _Place()
        parsed: dict[str, Segment] = {}
        for branch in branches(text):
            segments = split(branch, ".")
            while len(segments) > 1 and segments[-1] == ANY_DEPTH:
                segments.pop()  # a pattern covers everything below it anyway
            place = root
            for segment in segments:
                if segment != ANY_DEPTH and segment not in parsed:
                    parsed[segment] = parse(segment, text)
                place = place.after_any_depth() if segment == ANY_DEPTH else place.after(parsed[segment])
            # What only `**` leads to is everything.
            place.final = True
        self._start = self.state([root])

    def state(self, places: Iterable[_Place]) -> _State:
        """The state in which just these places are reached."""
        reached = frozenset(closed for place in places for closed in place.closure())
        known = self._states.get(reached)
        if known is None:
            known = self._states[reached] = _State(self, reached)
        return known

    def matches(self, name: str) -> bool:
        """Whether this matches the tensor called `name` or a module above it."""
        state = self._start
        for segment in name.split("."):
            if state.final or not state.alive:
                break
            state = state[segment]
        return state.final

    def nodes(self, tree: ParamTree) -> Iterator[int]:
        """The nodes of `tree` that this matches, in no order, and none below another that it returns."""
        if self._start.final:
            yield 0
            return
        waiting = [(0, self._start)]
        while waiting:
            node, state = waiting.pop()
            if state.lasting:
                yield from _below(tree, node, state)
                continue
            if state.tests or tree.end[node] - node < _MIN_NODES_PER_TEXT * len(state.texts):
                reached = [(child, state[tree.names[child]]) for child in tree.children(node)]
            else:
                reached = [(child, state[text]) for text in state.texts for child in tree.named(node, text)]
            for child, after in reached:
                if after.final:
                    yield child
                elif after.alive:
                    waiting.append((child, after))


class _Place:
    """A place between two segments of a pattern, and what leads from there to the next ones."""

    __slots__ = ("_deeper", "final", "lasting", "tests", "texts")

    def __init__(self, lasting: bool = False) -> None:
        self.texts: dict[str, _Place] = {}
        self.tests: dict[Matcher, _Place] = {}
        self.final = False
        self.lasting = lasting  # after `**`: any segment leads back here
        self._deeper: _Place | None = None

    def after(self, segment: Segment) -> _Place:
        """The place that one segment leads to."""
        if isinstance(segment, str):
            return self.texts.setdefault(segment, _Place())
        return self.tests.setdefault(segment, _Place())

    def after_any_depth(self) -> _Place:
        """The place that `**` leads to; a second `**` adds nothing."""
        if self.lasting:
            return self
        self._deeper = self._deeper or _Place(lasting=True)
        return self._deeper

    def closure(self) -> Iterator[_Place]:
        """This place, and the one that `**` leads to without any segment."""
        yield self
        if self._deeper is not None:
            yield self._deeper


class _State(dict[str, "_State"]):
    """Some places at the same time: for each segment seen so far, the state that it leads to.

    Attributes:
        final: whether a branch is matched.
        texts: the places that segments lead to which are matched by nothing but themselves.
        tests: what has to be asked of every other segment.
        lasting: the places that any segment leads back to.
        alive: whether anything leads on.
    """

    __slots__ = ("_glob", "alive", "final", "lasting", "tests", "texts")

    def __init__(self, glob: Glob, places: frozenset[_Place]) -> None:
        super().__init__()
        self._glob = glob
        self.final = any(place.final for place in places)
        self.lasting = [place for place in places if place.lasting]
        self.texts: dict[str, list[_Place]] = {}
        self.tests: list[tuple[Matcher, _Place]] = []
        for place in places:
            for text, after in place.texts.items():
                self.texts.setdefault(text, []).append(after)
            for segment, after in place.tests.items():
                self._add_test(segment, after)
        self.alive = bool(self.texts or self.tests or self.lasting)

    def _add_test(self, segment: Matcher, after: _Place) -> None:
        """Alternatives that stand for themselves are looked up, however many there are."""
        if isinstance(segment, Choice):
            for text in segment.texts:
                self.texts.setdefault(text, []).append(after)
            if segment.ranges is None and not segment.wildcards:
                return
        self.tests.append((segment, after))

    def __missing__(self, segment: str) -> _State:
        """The state that a segment not seen before leads to."""
        places = [*self.lasting, *self.texts.get(segment, ())]
        places += [after for test, after in self.tests if test.fits(segment)]
        self[segment] = state = self._glob.state(places)
        return state


def _below(tree: ParamTree, node: int, state: _State) -> Iterator[int]:
    """The topmost matches below `node`, in order: after `**` every node must be looked at."""
    names, depths, ends = tree.names, tree.depths, tree.end
    level = depths[node] + 1
    reached = [state]  # per depth, from `node` on
    child, stop = node + 1, ends[node]
    while child < stop:
        depth = depths[child] - level
        state = reached[depth][names[child]]
        if state.final:
            yield child
            child = ends[child]
            continue
        reached[depth + 1 :] = (state,)
        child += 1
