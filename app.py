"""The desk's front door: who is signed in, and which pages they have. Nothing else."""

from __future__ import annotations

import streamlit as st

from ui import navigation, session, sign_in, theme

st.set_page_config(page_title="InsightShop Admin", page_icon="ui/icon.svg", layout="wide")
theme.dress()

session.take_over()
title = "" if session.current() else navigation.reserve()
navigation.open_room(sign_in.enter(title))
