"""The desk's front door: who is signed in, and which pages they have. Nothing else."""

from __future__ import annotations

import streamlit as st

from ui import navigation, session

st.set_page_config(page_title="InsightShop Admin", page_icon=":material/shield:", layout="wide")

actor = session.current_actor()
if actor is None:
    st.title("InsightShop Admin")
    st.stop()
navigation.show(actor).run()
