"""The search: objectives, sampler, studies, workers, exact fronts."""
