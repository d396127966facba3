"""Search: an open study with its settings and candidates."""

from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from autost_optuna import notebook, units
from autost_optuna.front.candidate import TABLE, Candidate
from autost_optuna.front.convergence import Course
from autost_optuna.front.front import nondominated
from autost_optuna.front.picks import knee, pick
from autost_optuna.search.enrol import CANDIDATE
from autost_optuna.search.exact import ExactFront
from autost_optuna.search.settings import ATTRIBUTE, Settings
from autost_optuna.search.tables import stored_measured, with_measured

EXACT = f"{ATTRIBUTE}:exact"
SHOWN = 10  # most members of a front in a notebook


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """An Optuna study with its settings and its storage: a file or URL, which may contain a password."""

    study: optuna.Study
    settings: Settings
    storage: str = field(repr=False)

    def candidates(self) -> list[Candidate]:
        """The candidates of all complete trials, in the order of their trials. Members of the front are the measured ones.

        Silent networks are left out, and so are architectures outside the space, which 0.1.0 measured if they were enqueued.
        """
        return self.settled()[0]

    def settled(self) -> tuple[list[Candidate], dict[int, Candidate]]:
        """The candidates, and by trial what a table put on the front and measurement showed to be silent or out of bounds."""
        found = self.evaluated()
        if self.settings.rates != TABLE:
            return found, {}
        measured = stored_measured(self.study)
        kept, _ = with_measured(found, measured, self.settings.constraints)
        left = {one.number or 0 for one in found} - {one.number for one in kept}
        return kept, {number: measured[number] for number in sorted(left)}

    def evaluated(self) -> list[Candidate]:
        """The candidates as their trials were judged, which decide what the search tries next."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = (
            Candidate.from_dict(trial.user_attrs[CANDIDATE], number=trial.number)
            for trial in trials
            if CANDIDATE in trial.user_attrs
        )
        return [candidate for candidate in found if candidate.architecture in self.settings.space]

    def candidate(self, number: int) -> Candidate:
        """The candidate of trial `number`."""
        for candidate in self.candidates():
            if candidate.number == number:
                return candidate
        if left := self.settled()[1].get(number):
            why = "silent" if left.silent else f"at {units.energy(left.energy_mj)}, outside {self.settings.constraints}"
            raise ValueError(f"trial {number} of study {self.study.study_name} left the front: measured, it is {why}")
        members = len(self.front())  # without any trial, another error is raised
        listed = units.command("study", "front", self.study.study_name)
        raise ValueError(
            f"study {self.study.study_name} has no complete trial {number}; {listed} lists the {members} of its front"
        )

    def course(self) -> Course:
        """The hypervolume after each finished trial."""
        found = {candidate.number: candidate for candidate in self.evaluated()}
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return Course(self.settings.box, (found.get(trial.number) for trial in finished))

    def exact(self) -> ExactFront | None:
        """The exact front, if `find_exact` has stored it."""
        stored = self.study.user_attrs.get(EXACT)
        return None if stored is None else ExactFront.from_dict(stored)

    def _repr_html_(self) -> str:
        """In a notebook: the settings, and at most a handful of members of the front."""
        settings, members = self.settings, nondominated(self.candidates())
        chosen = knee(members) if members else None
        picked = pick(members, settings.box, SHOWN) if members else []
        few = [member for member in members if member in picked or member is chosen]
        rates = f"{units.images(settings.images, settings.seeds)} of {settings.data}"
        about = (
            f"space {settings.space.name}, task {settings.task.name}, {settings.convention.label}, rates at initialisation "
            f"on {rates}, {units.seeds(settings.seed, settings.seeds)}"
        )
        rows = [
            [
                f"{'* ' if member is chosen else ''}{member.number}",
                member.architecture.to_text(),
                units.significant(member.params / 1e6),
                units.significant(member.flops / 1e9),
                member.mark + units.significant(member.energy_mj, 4),
            ]
            for member in few
        ]
        columns = ["trial", "architecture", "M parameters", "GFLOPs", "mJ per image"]
        tabled = ", ~ by the table of rates" if any(member.mark for member in few) else ""
        said = f"{len(few)} of the {units.counted(len(members), 'member')} of the front, * its knee{tabled}"
        front = notebook.table(columns, rows, left=["architecture"]) + notebook.remark(said)
        return notebook.titled(
            f"study {self.study.study_name}",
            notebook.remark(about),
            front if members else notebook.remark("no complete trial yet"),
        )

    def front(self) -> list[Candidate]:
        """The members of the front, by ascending energy. ValueError if no trial is complete."""
        members = nondominated(self.candidates())
        if not members:
            name, trials = self.study.study_name, self.study.get_trials(deepcopy=False)
            infeasible = sum("infeasible" in trial.user_attrs for trial in trials)
            if infeasible:
                raise ValueError(
                    f"study {name} has no front: {infeasible:,} trials are outside its constraints "
                    f"({self.settings.constraints}); create one with wider bounds, or run more trials"
                )
            todo = units.command("study", "run", name, "--trials", "100")
            raise ValueError(f"study {name} has no complete trial yet; run {todo}{self._exact_hint()}")
        return members

    def _exact_hint(self) -> str:
        """A hint what to do with a known exact front while there is no trial to draw, train or export."""
        exact, name = self.exact(), self.study.study_name
        if exact is None:
            return ""
        lists, queues = units.command("study", "front", name, "--exact"), units.command("study", "exact", name)
        members = units.counted(len(exact.members), "member")
        return f"; {lists} prints the {members} of its exact front, and {queues} --enqueue K makes K of them trials"
