"""A deployment to begin with: yours takes its place."""

from ray import serve


@serve.deployment
class Words:
    """Counts words."""

    async def __call__(self, request):
        """How many there are in the body."""
        return len((await request.body()).split())


app = Words.bind()
