"""The live dashboard: Dash around the figures. ``make_app(studies)`` makes it; ``eos dashboard`` runs it.

It knows nothing of trackers or models: ``studies`` (``browse.studies.Studies``, or a stand-in) answers with frames.
"""

from eos_platform.dashboards.app.make import make_app

__all__ = ["make_app"]
