"""How a list is paged: by key, so that page one thousand costs what page one does."""

from rest_framework.pagination import CursorPagination


class CursorPages(CursorPagination):
    """Newest first by default; `page_size` up to 100."""

    page_size = 50
    max_page_size = 100
    page_size_query_param = "page_size"
    ordering = "-id"
