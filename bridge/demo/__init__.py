"""The main job on an embedded stand-in for the authorization server and the API."""
