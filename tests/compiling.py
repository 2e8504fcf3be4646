"""How tests compile what is to be equal to the last bit."""

# With the fusion emitters that users have: conftest.py leaves them out for the sake of time, and
# without them the same lines are rounded otherwise in one program than in another.
AS_USERS_DO = {"xla_backend_extra_options": ""}
