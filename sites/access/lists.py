"""How far the admin's lists count, so that a long one is drawn as soon as a short one."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList


class CappedPaginator(Paginator):
    """Counts no further than 10,000 rows, which takes the same time whatever the table's size."""

    most = 10_000
    template_name = "admin/capped_pagination.html"

    @cached_property
    def counted(self) -> int:
        """How many rows there are, or one more than `most`."""
        rows: Any = self.object_list
        return int(rows.order_by()[: self.most + 1].count())

    @property
    def count(self) -> int:
        return min(self.counted, self.most)

    @property
    def total(self) -> str:
        """The count as people read it."""
        return f"{self.most:,}+" if self.counted > self.most else f"{self.counted:,}"


class ScopedList(ChangeList):
    """A list that offers “Show all” only where a filter or a search hides something."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count
