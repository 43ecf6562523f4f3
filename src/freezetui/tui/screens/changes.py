"""What the plan changes compared with the config on disk."""

from __future__ import annotations

from rich.text import Text

from freezetui import numbers
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan
from freezetui.session.session import Session
from freezetui.text import printable

_MAX_RULES = 200


def changes_text(session: Session) -> Text:
    """Return the changed rules, and the counts before and after."""
    rules = added_rules(session.tree, session.plan.mask(), session.saved_mask)
    against = session.config_path.name if session.config else "everything trainable (no saved config)"
    text = Text(f"Compared with {printable(against)}\n\n", "dim")
    if session.saved.changed_on_disk:
        text.append(
            "The file has changed on disk since it was loaded; those changes are not listed.\n\n", "bold"
        )
    if session.architecture_changed:
        text.append("model    ", "bold").append(printable(session.architecture.model.architecture) + "\n")
    for name, value in session.stages.settings._asdict().items():
        if value != (saved := getattr(session.saved_settings, name)):
            text.append(f"{name}  ", "bold").append(f"{saved} → {value}\n")
    if session.stages.schedule != session.saved.schedule:
        before, now = (stage.name for stage in session.saved.schedule), session.stages.names
        named = [printable(", ".join(names)) or "none" for names in (before, now)]
        text.append("stages   ", "bold").append(f"{' → '.join(dict.fromkeys(named))}\n")
    if not rules:
        return text if session.unsaved else text.append("Nothing has changed.")
    for rule in rules[:_MAX_RULES]:
        sign = "■ freeze " if rule.action == "freeze" else "○ train  "
        text.append(sign, "bold").append(printable(rule.pattern) + "\n")
    if len(rules) > _MAX_RULES:
        text.append(f"and {numbers.plural(len(rules) - _MAX_RULES, 'more rule')}\n", "dim")
    before, now = FreezePlan(session.tree, session.saved_mask).totals(), session.totals
    for word, old, new in (
        ("frozen", before.frozen, now.frozen),
        ("trainable", before.trainable, now.trainable),
    ):
        text.append(f"\n{word:<10}", "bold")
        text.append(f"{numbers.plural(old.tensors, 'tensor')}, {numbers.count(old.elements)}")
        text.append(f"  →  {numbers.plural(new.tensors, 'tensor')}, {numbers.count(new.elements)}")
    return text
