import { createPinia } from 'pinia';
import { createApp } from 'vue';
import App from './App.vue';
import { createAppRouter } from './router.js';
import { useAuth } from './store/auth.js';
import { useMessages } from './store/messages.js';
import './styles/tokens.css';
import './styles/base.css';
import './styles/forms.css';
import './styles/table.css';

const app = createApp(App);
app.use(createPinia());
const auth = useAuth();
// From the start: what arrives while another screen is shown is in the feed too.
useMessages();
app.use(createAppRouter(auth));
app.mount('#app');
void auth.start();
